"""Messages of the command line in the words of the panel."""

from __future__ import annotations

import pytest

import slicer_host


@pytest.fixture(scope="module")
def words():
    slicer_host.start(gui=False)
    slicer_host.load_module()
    from SkullGANSlicer import words

    return words


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Give --head-frame, or --hu-offset -1024.", 'Give "Head frame", or "HU offset" -1024.'),
        ("Leave --layout out.", 'Leave "layout" out.'),  # which the panel does not have
        ("a skull-cap, 3--4 mm", "a skull-cap, 3--4 mm"),
        ("Choose another name, or ask for it to be overwritten (--overwrite).", "Choose another name."),
        ("Choose another folder or add --overwrite.", "Choose another folder."),
        ("Ask for them to be overwritten (--overwrite), or rename them.", "Replace them, or rename them."),
        ("or leave all of these out (--duplicates drop).",
         'or leave all of these out, see "Leave out images that lie in several classes".'),
        ("2 copies were kept (--duplicates drop leaves them out).", "2 copies were kept."),
        ("Name the labels like these: --names 3=,4=", "Name the labels like these"),
        ("Choose a model that was trained with these labels, or name them like the model's: --names.",
         "Choose a model that was trained with these labels, or call its segments as the model's labels."),
        ("Say --set label_set=tissues.", 'Say label_set=tissues in "Further options".'),
        ("Take --set network.size=64, or prepare anew.", 'Take network.size=64 in "Further options", or prepare anew.'),
        ("Use a batch size of 8 (--batch-size 8), or a smaller preset.",
         'Use a batch size of 8 ("Further options"), or a smaller preset.'),
        ("Use --batch-size 16 or less, or more data.", 'Use batch_size=16 in "Further options" or less, or more data.'),
        ("Use a smaller --batch-size than 8.", 'Use a batch_size below 8 in "Further options".'),
        ("Draw on the processor (--device cpu).", 'Draw on the processor ("Device" cpu).'),
        ("Make them of what its table says: skullgan dataset classes PATH --by region,side.",
         'Make them of what its table says: "Make classes" in section 1.'),
        ("Crop the scan to its calvarium first: skullgan volume calvarium.",
         'Crop the scan to its calvarium first: "Cut out calvarium" in section 3.'),
        ("scans are cut anew by dataset import-pairs --size 256.",
         'scans are cut anew by "Make data set of slices" with slices of 256 pixels.'),
        ("Draw images with 'skullgan label images' and paint these.", 'Draw images with "Annotate" and paint these.'),
        ("as skullgan prepare makes them.", 'as "Prepare" makes them.'),
        ("Say it with --subjects or --subject-pattern.",
         'Say it with "Table of subjects" or "Subject pattern".'),
        ("bring the finer one to the other's: skullgan dataset reduce.",
         'bring the finer one to the other\'s: "Reduce pixels" in section 4.'),
        ("cannot be drawn towards the middle. Leave --truncation out.",
         'cannot be drawn towards the middle. Leave "Variety" out.'),
        ("Give --out a name that ends in .mp4 or .png.", "Give the file a name that ends in .mp4 or .png."),
        ("look at it: skullgan dataset sheet.", "look at it: skullgan dataset sheet."),  # which the panel does not have
    ],
)  # fmt: skip
def test_a_message_asks_for_what_the_panel_has(words, said, shown):
    assert words.forPanel(said) == shown


def test_whatever_a_message_asks_for_as_the_panel_calls_it_is_there(words):
    import re
    from pathlib import Path

    ui = (Path(__file__).parents[1] / "SkullGAN" / "Resources" / "UI" / "SkullGAN.ui").read_text(encoding="utf-8")
    labels = {text.rstrip(":") for text in re.findall(r"<string>([^<]*)</string>", ui)}
    quoted = {word for _, shown in words.PHRASES for word in re.findall(r'"([A-Z][^"]*)"', shown)}
    assert {*words.LABELS.values(), *quoted} - labels == {"folder"}
