"""Sequences of records that show themselves as a table: in a terminal, in a notebook, as pandas, as JSON."""

from __future__ import annotations

import io
import json
import shutil
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, overload

from ..journal import well_formed
from .html import templates
from .record import plain, values
from .text import counted, first_few, printable

if TYPE_CHECKING:
    import pandas
    from rich.console import Console, ConsoleOptions
    from rich.table import Table
    from rich.text import Text
    from typing_extensions import Self

    from ..cluster import MissingNode

__all__ = ["NOTEBOOK", "Rows", "fitting", "looked_through"]

T = TypeVar("T")

_WIDTH = 120
"""Columns of text where there is no terminal to ask."""
_WIDE = 28
"""Characters that a column may be asked to fold its text to."""
NOTEBOOK = 150
"""Characters that are side by side in a notebook, in a window 1,200 pixels wide."""
_MOST_SHOWN = 60
"""Rows shown when a sequence shows itself; the rest are counted."""
_FEWEST_TO_SORT = 4
"""Rows of a table in a notebook that sorts and filters."""
_MOST_TO_SORT = 1_000
"""Rows that such a table holds, with those that it does not show."""
_TEMPLATES = Path(__file__).with_name("templates")


class Rows(Sequence[T], Generic[T]):
    """An immutable sequence of records of one kind, which prints as a table. A slice of it is of its own type.

    Attributes:
        missing: the nodes that did not answer, so that their records are not included.
        left_out: sentences on what else is not included, such as files that cannot be read.
        chosen: what was read, in words, if no source was named and no cluster was connected; else empty.
    """

    missing: tuple[MissingNode, ...]
    left_out: tuple[str, ...]
    chosen: str

    # Subclasses say which columns a table has: heading, how a record is written there, whether it is a number.
    _columns: ClassVar[tuple[tuple[str, Any, bool], ...]] = ()
    _title: ClassVar[tuple[str, str]] = ("row", "rows")
    """What one record is called, and several."""
    _newest_last: ClassVar[bool] = False
    """Whether, of more records than are shown, the last are of most interest."""
    _expendable: ClassVar[tuple[str, ...]] = ()
    """Headings of columns that go, in this order, where a terminal is too narrow for all."""
    _if_various: ClassVar[tuple[str, ...]] = ()
    """Headings of columns that are shown only where they do not say the same in every row."""

    def __init__(
        self,
        rows: Iterable[T],
        caption: str = "",
        missing: Iterable[MissingNode] = (),
        left_out: Iterable[str] = (),
        chosen: str = "",
    ) -> None:
        self._rows = list(rows)
        self._caption = caption
        self.missing = tuple(missing)
        self.left_out = tuple(left_out)
        self.chosen = chosen

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> Self: ...

    def __getitem__(self, index: int | slice) -> T | Self:
        if isinstance(index, slice):
            return self._with(self._rows[index])
        try:
            return self._rows[index]
        except IndexError:
            where = looked_through(self)
            said = f"there is no row {index}: {self._heading().rstrip('.')}{where and f' ({where})'}."
            raise IndexError(said) from None

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[T]:
        return iter(self._rows)

    def sorted(self, key: Callable[[T], Any] | str) -> Self:
        """Return the same records in another order.

        Args:
            key: a function of a record, or the name of a column of `to_pandas()`; records with None in that column come
                first.

        Raises:
            TypeError: `key` is neither.
            ValueError: there is no such column.
        """
        if isinstance(key, str):
            return self._with(sorted(self._rows, key=self._by_column(key)))
        if not callable(key):
            raise TypeError(
                f"sorted() takes a column's name, or a function such as `lambda record: record.name`, and got {key!r}"
            )
        return self._with(sorted(self._rows, key=key))

    def _by_column(self, name: str) -> Callable[[T], Any]:
        columns = list(values(self._rows[0])) if self._rows else [name]
        if name not in columns:
            raise ValueError(f"there is no column {name!r}; there are {', '.join(columns)}.")

        def key(row: T) -> tuple[bool, Any]:
            value = getattr(row, name)
            return value is not None, value

        return key

    def _with(self, rows: list[T]) -> Self:
        """Return a sequence of other rows of which the same is to be said."""
        return type(self)(rows, self._caption, self.missing, self.left_out, self.chosen)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Rows):
            return self._rows == other._rows
        return self._rows == other if isinstance(other, list) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table | Text]:
        """Show as a table where rich prints."""
        from rich.text import Text

        if self.chosen:
            yield Text(printable(self.chosen), style="dim")
        yield self._table(options.max_width) if self._rows else Text(self._heading())
        for note in self._notes():  # not the table's caption, which is as narrow as the table
            yield Text(printable(note), style="dim")

    def _fitting(self, width: int, rows: list[T]) -> list[tuple[str, list[str], bool]]:
        """The columns of some rows that say something and fit: heading, cells, whether it is of numbers."""
        shown = [
            (heading, [printable(write(row)) for row in rows], is_number) for heading, write, is_number in self._columns
        ]
        shown = [
            column
            for column in shown
            if any(column[1]) and (column[0] not in self._if_various or len(set(column[1])) > 1)
        ] or shown
        for expendable in self._expendable:
            if sum(min(max(map(len, (heading, *cells))), _WIDE) + 3 for heading, cells, _ in shown) <= width:
                break
            shown = [column for column in shown if column[0] != expendable]
        return shown

    def _table(self, width: int) -> Table:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        table = Table(
            title=self._heading(),
            title_justify="left",
            header_style="bold",
            box=SIMPLE_HEAD,
            padding=(0, 1),
            pad_edge=False,
        )
        columns = self._fitting(width, self._shown())
        for heading, _, is_number in columns:
            table.add_column(heading, justify="right" if is_number else "left", overflow="fold")
        for cells in zip(*(cells for _, cells, _ in columns), strict=True):
            table.add_row(*map(Text, cells))
        return table

    def _shown(self) -> list[T]:
        return self._rows[-_MOST_SHOWN:] if self._newest_last else self._rows[:_MOST_SHOWN]

    def _not_shown(self) -> list[T]:
        """Those nearest to them, for who sorts and filters."""
        if self._newest_last:
            return self._rows[-_MOST_TO_SORT:-_MOST_SHOWN]
        return self._rows[_MOST_SHOWN:_MOST_TO_SORT]

    def _out_of_reach(self) -> list[str]:
        if len(self._rows) <= _MOST_TO_SORT:
            return []
        which = "latest" if self._newest_last else "first"
        return [f"Sorted and filtered are the {which} {_MOST_TO_SORT:,}."]

    def _out_of_room(self, columns: list[tuple[str, list[str], bool]], rows: list[T]) -> list[str]:
        """Name the columns that say something and are not among these."""
        named = [heading for heading, _, _ in columns]
        left = [heading for heading, _, _ in self._fitting(sys.maxsize, rows) if rows and heading not in named]
        return [f"Not shown, for lack of room: {', '.join(left)}. to_pandas() has all."] if left else []

    def _heading(self) -> str:
        if not self._rows:
            return f"No {self._title[1]}."
        return counted(len(self._rows), *self._title)

    def _more(self) -> str:
        hidden = len(self._rows) - _MOST_SHOWN
        where = "earlier ones, not shown" if self._newest_last else "more"
        return f"… and {hidden} {where}" if hidden > 0 else ""

    def _notes(self) -> list[str]:
        """The lines that are to be said below a table."""
        known = (self._more(), *self._caption.split("\n"), *first_few(self.left_out), *first_few(self.missing))
        return [text for text in known if text]

    def __repr__(self) -> str:
        from rich.console import Console

        out = io.StringIO()
        width = shutil.get_terminal_size((_WIDTH, 24)).columns
        # In a notebook rich would display the table by itself instead of writing it to `file`.
        Console(file=out, width=width, force_jupyter=False).print(self)
        return out.getvalue().rstrip()

    def _repr_html_(self) -> str:
        """Return the table as a notebook shows it: where scripts run, it sorts and filters."""
        shown, more = self._shown(), self._not_shown()
        columns = self._fitting(NOTEBOOK, [*shown, *more])
        rows = list(zip(*(cells for _, cells, _ in columns), strict=True))
        targets = list(map(self._opens, [*shown, *more]))
        opens = _grouped(targets) if any(targets) else None
        # The same in each run, for notebooks in git.
        table = f"raymemprof-{zlib.crc32(repr((rows, targets)).encode(errors='replace')):08x}"
        if opens is not None:
            self._is_shown(table, frozenset(filter(None, targets)))
        page = templates(_TEMPLATES).get_template("rows.html")
        return page.render(
            chosen=self.chosen,
            heading=self._heading(),
            columns=[(heading, "right" if is_number else "left") for heading, _, is_number in columns],
            wide=[place for place, (_, cells, _) in enumerate(columns) if any(len(cell) > _WIDE for cell in cells)],
            rows=rows[: len(shown)],
            more=rows[len(shown) :],
            sorts=len(shown) >= _FEWEST_TO_SORT,
            newest_last=self._newest_last,
            id=table,
            opens=opens,
            notes=[*self._notes(), *self._out_of_reach(), *self._out_of_room(columns, [*shown, *more])],
        )

    def _opens(self, row: T) -> str:
        """Return what `flamegraph` is to draw on a click on a row, as its target; nothing where there is none."""
        return ""

    def _is_shown(self, table: str, targets: frozenset[str]) -> None:
        """Take note that a notebook shows the table, by its id, and what a click on its rows may ask for."""

    def to_pandas(self) -> pandas.DataFrame:
        """Return a `pandas.DataFrame` with a column for each attribute of a record.

        Needs pandas: `pip install raymemprof[pandas]`.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_pandas() needs pandas: pip install 'raymemprof[pandas]'.") from error

        return pandas.DataFrame([_fields(row) for row in self._rows])

    def to_json(self) -> str:
        """Return a JSON array with an object for each record, which has the names of its attributes."""
        return json.dumps(plain(self), indent=2)


def fitting(rows: Rows[T], width: int) -> list[tuple[str, list[str], bool]]:
    """Return the columns of a table that say something and fit: heading, cells, whether it is of numbers."""
    return rows._fitting(width, list(rows))


def looked_through(rows: Rows[T]) -> str:
    """Say where the records of a table come from, and what there is where none fits; empty where it is not known."""
    return "; ".join(filter(None, [rows.chosen, *rows._caption.split("\n")]))


def _grouped(targets: list[str]) -> dict[str, Any]:
    """Return targets as the script takes them: each file once, and for each row its number and the call in it."""
    files: dict[str, int] = {}
    rows: list[tuple[int, str] | None] = []
    for target in targets:
        file, hash_, call = target.partition("#")
        rows.append((files.setdefault(file, len(files)), hash_ + call) if target else None)
    return {"files": list(files), "rows": rows}


def _fields(row: Any) -> dict[str, Any]:
    return {
        key: value if value is None or isinstance(value, (str, int, float, bool, datetime)) else well_formed(str(value))
        for key, value in values(row).items()
    }
