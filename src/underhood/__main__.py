from underhood.cli import main

main()
