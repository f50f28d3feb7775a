import io
import os
import pickle
import zipfile

import numpy as np
import pytest
from PIL import Image
from skimage import io as skimage_io
from skimage import transform

from engine.errors import RecordingError, StimulusMismatchError
from engine.stimuli import Stimuli

COLOURED = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
GRAY = COLOURED[..., 0]


def encoded(image, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "images"
    place.mkdir()
    for index in (1, 2, 10):
        (place / f"im{index}.png").write_bytes(encoded(COLOURED + np.uint8(index)))
    (place / ".hidden.png").write_bytes(b"")
    (place / "notes.txt").write_text("no image")
    return place


@pytest.fixture
def archive(folder, tmp_path):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("inside/", "")
        file.writestr("__MACOSX/inside/._im1.png", "resource fork")
        for image in sorted(folder.glob("im*.png")):
            file.write(image, f"inside/{image.name}")
    return path


def test_folder_zip_paths_and_array_give_the_same_pixels(folder, archive):
    names = ["im1", "im2", "im10"]
    in_array = Stimuli.from_array(np.stack([COLOURED + np.uint8(index) for index in (1, 2, 10)]), names)
    in_paths = Stimuli.from_paths([folder / f"{name}.png" for name in names])
    for stimuli in (Stimuli.from_folder(folder), Stimuli.from_zip(archive), in_paths):
        assert stimuli.ids == ("im1", "im2", "im10")
        assert stimuli.pixel_digests() == in_array.pixel_digests()
        for name in names:
            np.testing.assert_array_equal(stimuli.pixels(name), in_array.pixels(name))


def test_an_independent_reader_sees_the_same_pixels(folder):
    np.testing.assert_array_equal(Stimuli.from_folder(folder).pixels("im2"), skimage_io.imread(folder / "im2.png"))


def test_ids_decide_the_order(folder, archive):
    assert Stimuli.from_folder(folder, ["im10", "im1", "im2"]).ids == ("im10", "im1", "im2")
    assert Stimuli.from_zip(archive, ["im10", "im1", "im2"]).ids == ("im10", "im1", "im2")
    by_position = Stimuli.from_paths([folder / "im10.png", folder / "im1.png"], ["a", "b"])
    np.testing.assert_array_equal(by_position.pixels("a"), COLOURED + np.uint8(10))


def test_pixels_may_be_changed_by_the_caller_without_changing_the_stimuli(folder):
    for stimuli in (Stimuli.from_folder(folder), Stimuli.from_array(COLOURED[None], ["im1"])):
        before = stimuli.pixels("im1").copy()
        stimuli.pixels("im1")[:] = 0
        np.testing.assert_array_equal(stimuli.pixels("im1"), before)


def test_a_writable_array_is_copied_and_a_read_only_one_is_not():
    images = COLOURED[None].copy()
    stimuli = Stimuli.from_array(images, ["a"])
    images[:] = 0
    np.testing.assert_array_equal(stimuli.pixels("a"), COLOURED)
    images.flags.writeable = False
    assert Stimuli.from_array(images, ["a"])._pictures["a"].image.base is images


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_zip_opens_again_in_another_process(archive):
    stimuli = Stimuli.from_zip(archive)
    expected = stimuli.pixel_digests()
    assert pickle.loads(pickle.dumps(stimuli)).pixel_digests() == expected
    child = os.fork()
    if child == 0:
        os._exit(0 if Stimuli.select(stimuli, ["im2"]).pixels("im2").any() else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_selection_keeps_its_order_and_digests(folder):
    stimuli = Stimuli.from_folder(folder)
    digests = stimuli.pixel_digests()
    selected = stimuli.select(["im10", "im1"])
    assert selected.ids == ("im10", "im1")
    assert len(selected) == 2
    assert selected.pixel_digests() == {name: digests[name] for name in ("im10", "im1")}


def test_digests_tell_shapes_apart():
    flat, tall = np.zeros((1, 2, 8), np.uint8), np.zeros((1, 8, 2), np.uint8)
    assert Stimuli.from_array(flat, ["a"]).pixel_digests() != Stimuli.from_array(tall, ["a"]).pixel_digests()


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (
            COLOURED[None] / 255,
            r"must be uint8 sRGB, 0 to 255, got float64 of shape \(1, 8, 12, 3\).*astype\('uint8'\)",
        ),
        (COLOURED[None].transpose(0, 3, 1, 2), r"got shape \(1, 3, 8, 12\); use images.transpose\(0, 2, 3, 1\)"),
        (COLOURED[0], r"got shape \(12, 3\); one image needs a first axis"),
        (np.zeros((1, 0, 3), np.uint8), "got shape"),
    ],
)
def test_other_arrays_are_refused(array, says):
    with pytest.raises(RecordingError, match=says):
        Stimuli.from_array(array, ["a"])


def test_one_id_per_image_and_file(folder):
    with pytest.raises(StimulusMismatchError, match="images holds 1 images for 2 stimulus ids"):
        Stimuli.from_array(COLOURED[None], ["a", "b"])
    with pytest.raises(StimulusMismatchError, match="1 image files for 2 stimulus ids"):
        Stimuli.from_paths([folder / "im1.png"], ["a", "b"])


def test_missing_places_and_files_are_named(tmp_path, folder):
    with pytest.raises(RecordingError, match=r"no folder of images at .*nowhere"):
        Stimuli.from_folder(tmp_path / "nowhere")
    with pytest.raises(RecordingError, match=r"no zip of images at .*nowhere.zip"):
        Stimuli.from_zip(tmp_path / "nowhere.zip")
    with pytest.raises(RecordingError, match=r"1 of 2 image files are missing, first '.*im3.png'"):
        Stimuli.from_paths([folder / "im1.png", folder / "im3.png"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordingError, match="empty holds no images"):
        Stimuli.from_folder(tmp_path / "empty")
    stimuli = Stimuli.from_folder(folder)
    (folder / "im2.png").unlink()
    with pytest.raises(RecordingError, match=r"im2\.png: cannot be read"):
        stimuli.pixels("im2")
    with pytest.raises(RecordingError, match="no stimulus 'im3'; there are 3, 'im1'"):
        stimuli.pixels("im3")
    with pytest.raises(RecordingError, match="1 of 2 selected stimuli do not exist, first 'im3'"):
        stimuli.select(["im1", "im3"])


def test_ids_must_name_exactly_the_images(folder):
    with pytest.raises(StimulusMismatchError, match=r"stimulus_ids names 2 stimuli, .*images 3; 0 only .*first 'im10'"):
        Stimuli.from_folder(folder, ["im1", "im2"])
    (folder / "im1.jpg").write_bytes(encoded(COLOURED, "JPEG"))
    with pytest.raises(
        RecordingError, match=r"1 stimulus ids name more than one image, first .*im1\.(jpg|png)'.*rename"
    ):
        Stimuli.from_folder(folder)


@pytest.mark.parametrize("member", ["../im1.png", "/im1.png", "a/../../im1.png", "..\\im1.png", "C:im1.png"])
def test_a_zip_that_points_out_of_itself_is_refused(tmp_path, member):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("im2.png", encoded(COLOURED))
        file.writestr(member, encoded(COLOURED))
    with pytest.raises(RecordingError, match="1 members point out of the archive"):
        Stimuli.from_zip(tmp_path / "x.zip")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_with_a_member_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("im1.png", encoded(COLOURED))
        file.writestr("im1.png", encoded(GRAY))
    with pytest.raises(RecordingError, match=r"1 members are there twice, first 'im1\.png'"):
        Stimuli.from_zip(tmp_path / "x.zip")


def test_a_damaged_zip_is_refused(archive, tmp_path):
    content = bytearray(archive.read_bytes())
    content[content.index(b"IDAT") + 20] ^= 1
    (tmp_path / "flipped.zip").write_bytes(content)
    stimuli = Stimuli.from_zip(tmp_path / "flipped.zip")
    with pytest.raises(RecordingError, match=r"flipped\.zip: inside/im1\.png: cannot be read .*CRC"):
        [stimuli.pixels(name) for name in stimuli.ids]
    (tmp_path / "cut.zip").write_bytes(content[:-30])
    with pytest.raises(RecordingError, match=r"cut\.zip: is no readable zip"):
        Stimuli.from_zip(tmp_path / "cut.zip")


def test_thumbnails_agree_with_an_independent_antialiased_reduction():
    y, x = np.mgrid[:64, :64] / 64
    smooth = (127 + 120 * np.sin(6 * x) * np.cos(5 * y)).astype(np.uint8)
    thumbnail = Stimuli.from_array(smooth[None], ["a"]).thumbnails(16)[0, ..., 0]
    expected = 255 * transform.resize(smooth, (16, 16), anti_aliasing=True)
    assert np.abs(thumbnail - expected)[2:-2, 2:-2].max() < 6


def test_gray_stimuli_have_thumbnails_of_one_colour_and_one_coloured_one_gives_all_three():
    gray, coloured = np.repeat(GRAY[None, ..., None], 3, 3), COLOURED[None]
    assert Stimuli.from_array(gray, ["a"]).thumbnails(4).shape == (1, 4, 4, 1)
    both = Stimuli.from_array(np.concatenate([gray, coloured]), ["a", "b"]).thumbnails(4)
    assert both.shape == (2, 4, 4, 3)
    assert (both[0, ..., 0] == both[0, ..., 1]).all()


def test_one_coloured_pixel_keeps_a_thumbnail_from_being_gray():
    picture = np.full((1, 40, 40, 3), 90, np.uint8)
    picture[0, 1, 1, 2] = 255
    assert Stimuli.from_array(picture, ["a"]).thumbnails(40).shape == (1, 40, 40, 3)


def test_thumbnails_keep_proportions_and_enlarge_nothing(tmp_path):
    (tmp_path / "wide.png").write_bytes(encoded(np.zeros((20, 40), np.uint8)))
    (tmp_path / "small.png").write_bytes(encoded(np.full((10, 10), 255, np.uint8)))
    stimuli = Stimuli.from_folder(tmp_path, ["wide", "small"])
    at_most_40 = stimuli.thumbnails(112)[..., 0]
    assert at_most_40.shape == (2, 40, 40)
    assert (at_most_40[0, 10:30] == 0).all()
    assert (at_most_40[0, :10] == 128).all()
    assert (at_most_40[0, 30:] == 128).all()
    assert (at_most_40[1, 15:25, 15:25] == 255).all()
    assert (at_most_40[1] == 128).sum() == 1500
    assert stimuli.thumbnails(20).shape == (2, 20, 20, 1)


@pytest.mark.real_data
@pytest.mark.parametrize(("session", "n_images", "n_colours"), [("190923", 1200, 3), ("210325", 640, 1)])
def test_published_images_are_read_whether_or_not_a_folder_stands_in_front(cowley_dir, session, n_images, n_colours):
    stimuli = Stimuli.from_zip(cowley_dir / "images" / f"images_{session}.zip")
    assert stimuli.ids == tuple(f"image{index + 1:04d}" for index in range(n_images))
    assert stimuli.thumbnails().shape == (n_images, 112, 112, n_colours)
