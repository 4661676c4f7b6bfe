"""Wolves and huskies: does an audit find the model that learnt the background?"""
