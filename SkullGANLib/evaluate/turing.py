"""The visual Turing test: readers see real and synthetic segments, shuffled, and say of each which it is.

Published (arXiv 2308.00206, third version): four staff radiologists were right in 60 % of their answers.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from SkullGANLib import __version__
from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.files import read_document, replace_folder, write_json
from SkullGANLib.progress import Progress, report

if TYPE_CHECKING:
    from SkullGANLib.evaluate.inputs import Source
    from SkullGANLib.evaluate.registry import EvaluatedSet

FORMAT, KEY_FORMAT, VERSION = "skullgan-turing", "skullgan-turing-key", 1
TEST_FILE, IMAGES_FILE, PAGE_FILE = "turing.json", "images.npy", "test.html"
WINDOW_HU = (0, 2700)
"""Images are shown in this window and hold nothing outside it."""
STEP_HU = 10
"""Values are rounded to it, less than one of the 256 greys of the window: no digit tells what the eye cannot see."""
FLOOR_HU = 20
"""What lies less than this above the lower end is set to it: two greys, the noise that a generator leaves there."""
LEAST_RANGE_HU = 200
CLIPPED_SHARE = 0.01
KEY_NOTE = (
    "With this file the answers of a visual Turing test are marked. Whoever runs the test keeps it; readers must not "
    "have it. It says nothing by itself: which image is real follows from the secret."
)


@dataclass(frozen=True)
class VisualTest:
    """A test as its readers have it: images and no word of what they are.

    Attributes:
        path: the folder.
        id: a digest of the key, by which it is known; stands in every file of answers.
        seed: of the draw of the images and of the order in which each reader sees them.
        counts: real and synthetic images.
        spacing_mm: pixel size.
        images: (n, H, W) int16 HU, memory-mapped.
        facts: everything in ``turing.json``.
    """

    path: Path
    id: str
    seed: int
    counts: tuple[int, int]
    spacing_mm: float
    images: np.ndarray
    facts: dict[str, Any]

    def __len__(self) -> int:
        return sum(self.counts)

    @classmethod
    def open(cls, path: str | Path) -> VisualTest:
        """Open the folder that ``make_test`` has written.

        Raises:
            FormatError: no test, of a newer version, or damaged.
        """
        from SkullGANLib.segments.arrays import open_npy

        path = Path(path)
        facts = read_document(path / TEST_FILE, format=FORMAT, version=VERSION, what="visual test")
        images = open_npy(path / IMAGES_FILE)
        try:
            counts = int(facts["images"]["real"]), int(facts["images"]["synthetic"])
            found = cls(path, str(facts["id"]), int(facts["seed"]), counts, float(facts["spacing_mm"]), images, facts)
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(
                f"{path / TEST_FILE} is damaged ({error}).", "Take a whole copy of the folder."
            ) from error
        if images.ndim != 3 or images.dtype != np.int16 or len(images) != len(found):
            raise FormatError(f"{path / IMAGES_FILE} does not fit {TEST_FILE}.", "Take a whole copy of the folder.")
        return found

    def order(self, reader: str) -> list[int]:
        """The image numbers in the order in which a reader sees them; the page ``test.html`` works out the same."""
        return sorted(range(len(self)), key=lambda image: (_mixed(f"{self.seed}:{reader}:{image}"), image))

    def is_synthetic(self, secret: str) -> np.ndarray:
        """(n,) bool: what each image is, by the secret of the key."""
        return np.array(_shuffled(len(self), secret)) >= self.counts[0]


def make_test(
    real: Source,
    synthetic: Source,
    out: str | Path,
    *,
    count: int = 100,
    seed: int = 0,
    split: str = "auto",
    spacing_mm: float | None = None,
    key: str | Path | None = None,
    progress: Progress | None = None,
) -> tuple[VisualTest, list[str]]:
    """Draw images, half of them from each set, and write the folder that readers are given, and the key beside it.

    The images are matched in nothing but their number. Both kinds are rounded alike and clipped to the range that they
    share, all lie in one array, and their numbers follow from a secret that is in the key alone.

    Args:
        real, synthetic: data sets, or (N, H, W) HU arrays.
        out: folder to make; a test that is there already is never replaced.
        count: images; of an odd number the seed decides which set gives one more.
        seed: same seed, same images; their numbers differ each time.
        split: part of the real set: all, train, test, or auto: test where it is split, else all.
        spacing_mm: pixel size of sets given as arrays.
        key: file for the key; ``OUT-key.json`` beside the folder if not given.
        progress: told how far it is.

    Returns:
        The test, and sentences to read before it is given to anyone.

    Raises:
        InputError: too few images, sets that do not fit each other or have no range in common, values that are not
            finite, or a folder or key that is there already.
    """
    from SkullGANLib.evaluate.checks import check_origin
    from SkullGANLib.evaluate.inputs import comparable_sets
    from SkullGANLib.evaluate.registry import EvaluationInput
    from SkullGANLib.evaluate.turing_page import test_page

    out, key = Path(out), key_path(out) if key is None else Path(key)
    _check_free(out, key)
    sets, spacing_mm, notes = comparable_sets(
        {"real": real, "synthetic": synthetic}, split=split, spacing_mm=spacing_mm
    )
    given = EvaluationInput(sets["real"], sets["synthetic"], spacing_mm, seed)
    if given.real.fingerprint == given.synthetic.fingerprint:
        raise InputError("Both sets are the same.", "Give a real and a synthetic one.")
    counts = _halves(count, seed)
    report(progress, 0, 3, "Drawing the images")
    drawn = [_draw(each, n, seed) for each, n in zip(given.sets, counts, strict=True)]
    images, facts, clipped = _evened(*drawn)
    report(progress, 1, 3, "Drawing the images")
    secret = secrets.token_hex(16)
    with replace_folder(out, overwrite=False) as folder:
        np.save(folder / IMAGES_FILE, images[_shuffled(len(images), secret)])
        card = {
            "format": FORMAT,
            "version": VERSION,
            "library": __version__,
            "id": _id_of(secret),
            "seed": seed,
            "images": {"real": counts[0], "synthetic": counts[1]},
            "size_px": list(images.shape[1:]),
            "spacing_mm": given.spacing_mm,
            "window_hu": list(WINDOW_HU),
            **facts,
            "sets": {
                each.name: {
                    "kind": each.kind,
                    "split": each.split,
                    "segments": len(each),
                    "sha256": each.fingerprint.partition(":")[0],
                }
                for each in given.sets
            },
        }
        write_json(folder / TEST_FILE, card)
        test = VisualTest.open(folder)
        (folder / PAGE_FILE).write_text(test_page(test), encoding="utf-8")
        report(progress, 2, 3, "Drawing the images")
        write_json(
            key,
            {"format": KEY_FORMAT, "version": VERSION, "note": KEY_NOTE, "test": test.id, "secret": secret},
        )
        del test  # lets go of the array, so that the folder can be renamed
    report(progress, 3, 3, "Drawing the images")
    return VisualTest.open(out), [*check_origin(given), *notes, *clipped]


def key_path(test: str | Path) -> Path:
    """Where the key of a test lies unless it was put elsewhere: beside the folder, outside what readers are given."""
    test = Path(test).resolve()
    return test.with_name(f"{test.name}-key.json")


def read_key(test: VisualTest, path: str | Path | None = None) -> str:
    """The secret of a test.

    Args:
        test: whose key it must be.
        path: of the key; beside the folder if not given.

    Raises:
        FormatError: there is none, or it belongs to another test.
    """
    path = key_path(test.path) if path is None else Path(path)
    if not path.is_file():
        raise FormatError(f"The key {path} is missing.", "Whoever made the test has it; say where it is.")
    secret = read_document(path, format=KEY_FORMAT, version=VERSION, what="key of a visual test").get("secret")
    if not isinstance(secret, str) or _id_of(secret) != test.id:
        raise FormatError(f"{path} is the key of another test.", "Give the one that was made with this test.")
    return secret


def _check_free(out: Path, key: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists already; a test is never replaced.", "Choose another folder.")
    if key.exists():
        raise InputError(
            f"{key} is the key of an earlier test and is never replaced.", "Choose another name, or move that key away."
        )
    if out.resolve() in key.resolve().parents:
        raise InputError("The key would lie in the folder that readers are given.", "Put it elsewhere.")


def _halves(count: int, seed: int) -> tuple[int, int]:
    if count < 2:
        raise InputError(f"A test of {count} images tells nothing.", "Take at least 2; 100 is usual.")
    more = _mixed(f"{seed}:odd") % 2 if count % 2 else 0
    return count // 2 + more, count - count // 2 - more


def _draw(each: EvaluatedSet, n: int, seed: int) -> np.ndarray:
    """(n, H, W) int32 HU, in an order that says nothing."""
    from SkullGANLib.evaluate.radiological import refuse_non_finite

    if len(each) < n:
        raise InputError(
            f"The {each.name} set has {len(each)} segments, too few to draw {n} from.", "Take a smaller test."
        )
    rows = np.sort(_shuffled(len(each), f"{seed} {each.name}")[:n])
    hu = np.asarray(each.hu[rows])
    refuse_non_finite(hu)
    return np.floor(hu.astype(np.float64) + 0.5).astype(np.int32)


def _evened(real: np.ndarray, synthetic: np.ndarray) -> tuple[np.ndarray, dict[str, Any], list[str]]:
    """Real, then synthetic images as (n, H, W) int16 HU of one range, floor and step; the facts; and notes."""
    both = real, synthetic
    low = max(WINDOW_HU[0], *(int(each.min()) for each in both))
    high = min(WINDOW_HU[1], *(int(each.max()) for each in both))
    if high - low < LEAST_RANGE_HU:
        raise InputError(
            f"The two sets have only {max(high - low, 0)} HU between {WINDOW_HU[0]} and {WINDOW_HU[1]} in common.",
            "Give both in Hounsfield units.",
        )
    notes = []
    for name, each in (("real", real), ("synthetic", synthetic)):
        bone = each >= low + FLOOR_HU
        clipped = float((each > high).sum() / max(bone.sum(), 1))
        if clipped > CLIPPED_SHARE:
            notes.append(
                f"{100 * clipped:.0f} % of the bone of the {name} images is brighter than anything in the others and "
                f"is clipped to {high} HU: the sets differ in brightness, and readers may go by that."
            )
    step = int(np.lcm.reduce([STEP_HU, *(np.gcd.reduce(each, axis=None) for each in both)]))
    images = np.concatenate(both).clip(low, high)
    images[images < low + FLOOR_HU] = low
    images = (2 * images + step) // (2 * step) * step  # halves upwards, so that every step holds as many values
    return images.astype(np.int16), {"clipped_hu": [low, high], "floor_hu": low + FLOOR_HU, "step_hu": step}, notes


def _shuffled(n: int, key: str) -> list[int]:
    """0 to n - 1 in the order of their keyed digests: the same on every machine and with every version of NumPy."""
    secret = hashlib.sha256(key.encode()).digest()

    def digest(number: int) -> bytes:
        return hashlib.blake2b(str(number).encode(), key=secret).digest()

    return sorted(range(n), key=digest)


def _id_of(secret: str) -> str:
    return hashlib.sha256(f"id of {secret}".encode()).hexdigest()[:16]


def _mixed(text: str) -> int:
    """32 bits that look random (FNV-1a, finished as in MurmurHash3): simple enough to be the same in the page."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    value = (value ^ value >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    value = (value ^ value >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return value ^ value >> 16
