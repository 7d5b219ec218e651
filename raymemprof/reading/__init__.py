"""What reads journals and captures, with or without Ray."""

from .catalog import clickable_rows


def _answer_clicks(table: str, targets: frozenset[str]) -> None:
    from .reports.notebook.clicks import answer_clicks  # what draws the graphs, only where a table is shown

    answer_clicks(table, targets)


clickable_rows.answer_clicks = _answer_clicks
