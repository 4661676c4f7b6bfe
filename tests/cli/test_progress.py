"""What the bar of an audit shows."""

from contextlib import nullcontext

from rich.progress import Progress

from underhood.cli import progress


def test_a_stage_of_known_size_is_counted_and_of_another_what_its_steps_have_done(monkeypatch):
    bar = Progress(disable=True)
    monkeypatch.setattr(progress, "_shown", lambda: nullcontext(bar))
    with progress.stages() as (report, begin):
        begin("pictures", 10)
        report(4, 10)
        assert [(task.description, task.completed, task.total) for task in bar.tasks] == [("pictures", 4, 10)]
        begin("shortcuts", None)
        for done, total in ((2, 8), (8, 8), (3, 5)):
            report(done, total)
        assert [(t.description, t.completed, t.total) for t in bar.tasks] == [("shortcuts", 11, None)]


def test_where_output_is_redirected_nothing_is_shown(capsys):
    with progress.stages() as (report, begin):
        begin("pictures", 10)
        report(10, 10)
    assert capsys.readouterr() == ("", "")
