from ensembles.data.files import progress


def run():
    return list(progress.when_slow([(2, "a"), (3, "b")], 5, "Counting"))


def test_quick_work_shows_nothing(capsys):
    assert run() == ["a", "b"]
    assert capsys.readouterr().err == ""


def test_slow_work_shows_how_far_it_is(capsys, monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", -1.0)
    assert run() == ["a", "b"]
    assert "Counting" in (shown := capsys.readouterr().err)
    assert "5/5" in shown
