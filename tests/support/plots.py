"""The plots of ``wsolrefine evaluate``, left out of tests about something else."""


def left_out(monkeypatch):
    """Write empty files instead of plots: to draw them takes most of the time of a small run."""
    for name in ("plot_curves", "plot_bars"):
        monkeypatch.setattr(
            f"wsolrefine.cli.evaluate.output.{name}",
            lambda values, path, **_: path.write_bytes(b""),
        )


def drawn(monkeypatch):
    """Draw them again."""
    from wsolrefine import viz

    for name in ("plot_curves", "plot_bars"):
        monkeypatch.setattr(f"wsolrefine.cli.evaluate.output.{name}", getattr(viz, name))
