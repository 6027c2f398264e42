"""When plots are drawn while a model trains."""

import types

from infoxlm_keras.runs import fitting


def test_plots_are_drawn_at_most_once_a_minute(monkeypatch):
    now, done = [100.0], []
    monkeypatch.setattr(fitting.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(fitting, "refresh_plots", lambda directory, tasks: done.append(("drawn", now[0])))
    directory = types.SimpleNamespace(publish=lambda: done.append(("published", now[0])))
    after_save = fitting._after_save(directory, [])
    for now[0] in (101.0, 159.0, 160.0, 200.0, 221.0):
        after_save()
    # A store gets each checkpoint.
    assert [time for what, time in done if what == "published"] == [101.0, 159.0, 160.0, 200.0, 221.0]
    assert [time for what, time in done if what == "drawn"] == [160.0, 221.0]
    assert done.index(("drawn", 160.0)) < done.index(("published", 160.0))
