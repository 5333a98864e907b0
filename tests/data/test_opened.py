"""What is opened as an image: raster formats, regular files, a limited number of pixels."""

import errno
import io
import threading
import time
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.support import odd_files
from tests.support.odd_files import time_limit
from tests.support.odd_images import bomb
from wsolrefine.data import UnreadableImage, _opened, read_image
from wsolrefine.data._masks import read_gray, read_gray_map
from wsolrefine.data.images import SUFFIXES, image_size, reading

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.fixture
def programs(monkeypatch):
    """List the programs that are started; none is."""
    import subprocess

    started = []

    def start(*arguments, **options):
        started.append(arguments)
        raise OSError("no program may be started")

    for name in ("Popen", "run", "call", "check_call", "check_output"):
        monkeypatch.setattr(subprocess, name, start)
    return started


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png", "photo.eps", "photo"])
@pytest.mark.parametrize("read", [read_image, image_size, read_gray, read_gray_map])
def test_postscript_reaches_no_program(tmp_path, programs, name, read):
    (tmp_path / name).write_bytes(POSTSCRIPT)
    with pytest.raises(UnreadableImage, match="another kind of file, or a format"):
        read(tmp_path / name)
    assert not programs


def test_postscript_inside_of_another_container_is_not_opened(tmp_path, programs):
    """DOS EPS, an IPTC file that holds PostScript, a Windows metafile, and a PDF."""
    files = {
        "dos.jpg": b"\xc5\xd0\xd3\xc6" + (30).to_bytes(4, "little") + bytes(22) + POSTSCRIPT,
        "iptc.jpg": b"\x1c\x03\x3c\x00\x02\x02\x00\x1c\x08\x0a" + bytes([0, 60]) + POSTSCRIPT,
        "meta.png": b"\xd7\xcd\xc6\x9a\0\0" + bytes(60),
        "page.png": b"%PDF-1.4\n" + bytes(60),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UnreadableImage, match=name):
            read_image(tmp_path / name)
    assert not programs


def test_formats_that_start_programs_or_call_handlers_are_left_out():
    unsafe = {"EPS", "WMF", "IPTC", "BUFR", "GRIB", "HDF5", "PDF", "FPX", "MIC", "MPEG", "SPIDER"}
    assert not unsafe & set(_opened.FORMATS)
    Image.init()
    assert {"JPEG", "PNG", "TIFF", "GIF", "BMP", "WEBP"} <= set(_opened.FORMATS) & set(Image.OPEN)


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_suffix_that_pillow_writes_is_read(tmp_path, suffix):
    if suffix not in (known := Image.registered_extensions()):
        pytest.skip("of a plugin")
    format = known[suffix]
    mode = "1" if suffix == ".pbm" else "RGB"
    try:
        Image.new(mode, (8, 6), "white").save(tmp_path / f"a{suffix}", format)
    except (OSError, KeyError):
        pytest.skip("Pillow was built without it")
    assert read_image(tmp_path / f"a{suffix}").size == (8, 6)


@pytest.mark.parametrize("kind", odd_files.KINDS)
@pytest.mark.parametrize("read", [read_image, image_size, read_gray, read_gray_map])
def test_what_is_no_regular_file_is_no_image(tmp_path, kind, read):
    said = odd_files.make(tmp_path / "a.png", kind)
    with time_limit(5), pytest.raises(UnreadableImage, match=f"a.png: expected .*, got {said}$"):
        read(tmp_path / "a.png")


def test_too_many_pixels_are_counted_and_refused(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(bomb())
    with pytest.raises(UnreadableImage, match=r"too many pixels \(Image size \(1600000000 pixels"):
        read_image(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # as programs do that read large images
    said = r"too many pixels \(40000 x 40000 = 1,600,000,000; at most 178,956,970 are read\)"
    for read in (read_image, image_size, read_gray, read_gray_map):
        with pytest.raises(UnreadableImage, match=said):
            read(tmp_path / "a.png")


def test_formats_that_take_more_memory_have_a_lower_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(_opened, "MAX_PIXELS_OF", {"WEBP": 99})
    for name in ("a.webp", "a.png"):
        Image.new("RGB", (10, 10)).save(tmp_path / name)
    assert read_image(tmp_path / "a.png").size == (10, 10)
    with pytest.raises(UnreadableImage, match=r"10 x 10 = 100; at most 99 are read"):
        read_image(tmp_path / "a.webp")


def test_a_frame_larger_than_its_gif_is_refused(tmp_path, monkeypatch):
    data = io.BytesIO()
    Image.new("L", (8, 8)).save(data, "gif")
    raw = bytearray(data.getvalue())
    frame = raw.index(b"\x2c")
    raw[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"  # width and height of the frame
    (tmp_path / "a.gif").write_bytes(raw)
    with pytest.raises(UnreadableImage, match="too many pixels"):
        read_image(tmp_path / "a.gif")


def test_text_in_a_png_that_unpacks_to_gigabytes_is_refused(tmp_path):
    data = io.BytesIO()
    Image.new("L", (8, 8)).save(data, "png")
    raw = data.getvalue()
    packed = b"Comment\0\0" + zlib.compress(bytes(2**24))
    chunk = len(packed).to_bytes(4, "big") + b"zTXt" + packed
    chunk += zlib.crc32(chunk[4:]).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(raw[:33] + chunk + raw[33:])
    with pytest.raises(UnreadableImage, match=r"a\.png: expected an image, got a damaged file"):
        read_image(tmp_path / "a.png")


def test_large_images_are_read_one_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(_opened, "LARGE", 99)
    Image.new("RGB", (10, 10)).save(tmp_path / "large.png")
    Image.new("RGB", (3, 3)).save(tmp_path / "small.png")
    now, most = 0, {"large.png": 0, "small.png": 0}
    lock = threading.Lock()

    def read(name):
        nonlocal now
        with reading(tmp_path / name):
            with lock:
                now += 1
                most[name] = max(most[name], now)
            time.sleep(0.05)
            with lock:
                now -= 1

    for name in most:
        threads = [threading.Thread(target=read, args=[name]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
    assert most["large.png"] == 1
    assert most["small.png"] > 1


def test_a_large_image_read_while_another_is_open_does_not_wait_for_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(_opened, "LARGE", 0)
    Image.new("RGB", (10, 10)).save(tmp_path / "a.png")
    with time_limit(5), reading(tmp_path / "a.png"), reading(tmp_path / "a.png") as image:
        assert image.size == (10, 10)


def test_an_error_of_the_reader_is_not_blamed_on_the_file(tmp_path):
    Image.new("RGB", (10, 10)).save(tmp_path / "a.png")

    def work():
        with reading(tmp_path / "a.png"):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        work()


def test_half_a_file_is_an_error_and_not_half_an_image(tmp_path):
    rng = np.random.default_rng(0)
    whole = Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    for name in ("a.jpg", "a.png", "a.gif", "a.tif", "a.webp", "a.bmp", "a.ppm", "a.tga"):
        whole.save(tmp_path / name)
        content = (tmp_path / name).read_bytes()
        for part in (0.9, 0.5, 0.1):
            (tmp_path / name).write_bytes(content[: int(len(content) * part)])
            with pytest.raises(UnreadableImage, match=name):
                read_image(tmp_path / name)


def test_a_damaged_file_that_leads_outside_of_itself_is_named(tmp_path):
    """The directory of the next page lies before the file: the system refuses to go there."""
    Image.new("L", (8, 8)).save(tmp_path / "a.tif", "tiff")
    content = bytearray((tmp_path / "a.tif").read_bytes())
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = content.copy()
        for at in rng.integers(4, len(content), 3).tolist():
            damaged[at : at + 4] = b"\xff" * 4
        (tmp_path / "a.tif").write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read_image(tmp_path / "a.tif")
                continue
            except (OSError, ValueError) as error:
                said = str(error)
        assert str(tmp_path / "a.tif") in said


def test_an_error_of_the_disk_is_an_error_of_the_system_with_the_file(tmp_path, monkeypatch):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")

    def broken(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Image, "open", broken)
    with pytest.raises(OSError, match=r"Input/output error: .*a\.png"):
        read_image(tmp_path / "a.png")


def test_memory_of_large_images_goes_back_to_the_system(tmp_path, monkeypatch):
    """Otherwise each of four threads kept what it had freed: 4.7 GiB for 177 megapixels."""
    calls = []
    monkeypatch.setattr(_opened, "_give_memory_back", lambda: calls.append(1))
    Image.new("RGB", (10, 10)).save(tmp_path / "a.png")
    read_image(tmp_path / "a.png")
    assert not calls
    monkeypatch.setattr(_opened, "LARGE", 99)
    read_image(tmp_path / "a.png")
    assert len(calls) == 2
    monkeypatch.undo()
    _opened._give_memory_back()
