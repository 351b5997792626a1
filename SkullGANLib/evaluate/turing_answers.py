"""What the readers of a visual Turing test say: a CSV file for each, on disk before the next image is shown."""

from __future__ import annotations

import csv
import io
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.evaluate.turing import VisualTest
from SkullGANLib.segments.privacy import refuse_patient_data

REAL, SYNTHETIC, TAKEN_BACK = "real", "synthetic", ""
COLUMNS = ("test", "reader", "image", "answer", "seconds")
READER = re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}")


@dataclass(frozen=True)
class Answer:
    """What a reader said of an image, and how long that took in seconds."""

    said: str
    seconds: float


class Session:
    """One reader's way through a test; started again it goes on at the first image without an answer.

    Attributes:
        test: the test.
        reader: pseudonym.
        answers: by image number, the oldest first.
    """

    def __init__(self, test: VisualTest, reader: str) -> None:
        """Raises InputError for a name that is no pseudonym, FormatError for answers that are damaged."""
        self.test, self.reader = test, check_reader(reader)
        self._order = test.order(self.reader)
        self._path = answers_path(test, self.reader)
        self.answers = read_answers(test, self._path)[1] if self._path.is_file() else {}

    @property
    def done(self) -> int:
        """Images with an answer."""
        return len(self.answers)

    @property
    def image(self) -> int | None:
        """The number of the image to be shown now; None once all have an answer."""
        return next((image for image in self._order if image not in self.answers), None)

    def answer(self, said: str, seconds: float = 0.0) -> None:
        """Say what the image shown is.

        Args:
            said: "real" or "synthetic".
            seconds: since it was shown.

        Raises:
            InputError: another word, or no image is left.
        """
        image = self.image
        if said not in (REAL, SYNTHETIC) or image is None:
            raise InputError(f'"{said}" is no answer here.', "Say real or synthetic while an image is shown.")
        answer = Answer(said, round(max(seconds, 0.0), 1))
        self._write({image: answer})
        self.answers[image] = answer

    def undo(self) -> bool:
        """Take the last answer back; False where there is none."""
        if not self.answers:
            return False
        last = next(reversed(self.answers))
        self._write({last: Answer(TAKEN_BACK, 0.0)})
        del self.answers[last]
        return True

    def add(self, answers: dict[int, Answer]) -> int:
        """Take answers given elsewhere, such as on the page; those that are here already are left as they are.

        Returns:
            How many are new.

        Raises:
            InputError: an image was answered otherwise here: two people under one name, perhaps.
        """
        other = [image for image, each in answers.items() if self.answers.get(image, each).said != each.said]
        if other:
            raise InputError(
                f'Of the reader "{self.reader}" there are other answers already, to {len(other)} of these images.',
                f"Two people need two names. To take the new ones instead, remove {self._path.name} first.",
            )
        new = {image: each for image, each in answers.items() if image not in self.answers}
        if new:
            self._write(new)
        self.answers |= new
        return len(new)

    def _write(self, answers: dict[int, Answer]) -> None:
        rows = [(self.test.id, self.reader, image, each.said, each.seconds) for image, each in answers.items()]
        _append(self._path, "".join(",".join(map(str, row)) + "\n" for row in rows))


def check_reader(name: str) -> str:
    """A reader's pseudonym as it stands in files: small letters, so that it is one file on every disk.

    Raises:
        InputError: not a short word, or a long number, date or UID.
    """
    reader = name.strip().lower()
    try:
        refuse_patient_data({"subject": np.array([reader])})
    except InputError:
        reader = ""
    if not READER.fullmatch(reader):
        raise InputError(
            f'"{name}" is no name for a reader.',
            "Take a short pseudonym of letters and digits, such as reader-1, and not a person's name.",
        )
    return reader


def answers_path(test: VisualTest, reader: str) -> Path:
    """The file of a reader's answers."""
    return test.path / f"answers-{reader}.csv"


def sessions(test: VisualTest) -> list[Session]:
    """Every reader who has begun, by name."""
    names = sorted(path.stem.removeprefix("answers-") for path in test.path.glob("answers-*.csv"))
    return [Session(test, name) for name in names]


def add_answers(test: VisualTest, path: str | Path) -> tuple[Session, int]:
    """Take a file that the page has saved; the same file a second time changes nothing.

    Returns:
        The reader's session, and how many answers are new.

    Raises:
        FormatError: not of this test, or damaged.
        InputError: see ``Session.add``.
    """
    reader, answers = read_answers(test, Path(path), whole=True)
    session = Session(test, reader)
    return session, session.add(answers)


def read_answers(test: VisualTest, path: Path, *, whole: bool = False) -> tuple[str, dict[int, Answer]]:
    """A file of answers: the reader, and by image number what holds in the end, the oldest first.

    Args:
        test: that they must belong to.
        path: of the file.
        whole: whether its last line is complete without a line end; one that a killed program has left is not.

    Raises:
        FormatError: missing, of another test or of several readers, or with a line that cannot be.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise FormatError(f"There is no file {path}.", "Check the path.") from error
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not text.", "Give a file of answers.") from error
    lines = text if whole else text[: text.rfind("\n") + 1]
    if not lines and not whole:
        return path.stem.removeprefix("answers-"), {}
    semicolons = lines.startswith(";".join(COLUMNS))  # as spreadsheets of some countries save it
    heading, *rows = [*csv.reader(io.StringIO(lines), delimiter=";" if semicolons else ",")] or [[]]
    if tuple(heading) != COLUMNS:
        raise FormatError(f"{path} holds no answers of a visual test.", "Give the file as the page has saved it.")
    answers: dict[int, Answer] = {}
    readers = {path.stem.removeprefix("answers-")} if not whole else set()
    for number, row in enumerate(rows, start=2):
        if row and row[0] != test.id:
            raise FormatError(f"{path} belongs to another test.", "Add it to the test that its answers were given in.")
        try:
            _, reader, image, said, seconds = row
            answer = Answer(said, float(seconds.replace(",", ".")))
            known = 0 <= int(image) < len(test) and said in (REAL, SYNTHETIC, TAKEN_BACK)
            known = known and 0 <= answer.seconds < math.inf
        except ValueError:
            known = False
        if not known:
            raise FormatError(f"Line {number} of {path} is no answer.", "Give the file as it was saved.")
        readers.add(reader)
        answers.pop(int(image), None)
        if said:
            answers[int(image)] = answer
    if len(readers) != 1:
        words = "several readers" if readers else "no reader"
        raise FormatError(f"{path} holds answers of {words}.", "Each reader needs a file with that reader's name.")
    return readers.pop(), answers


def _append(path: Path, lines: str) -> None:
    """Add whole lines and see them onto the disk; what a killed program has left of a line goes first."""
    path.touch()
    with open(path, "r+b") as file:
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)
        file.seek(whole)
        file.write(("" if whole else ",".join(COLUMNS) + "\n").encode() + lines.encode())
        file.flush()
        os.fsync(file.fileno())
