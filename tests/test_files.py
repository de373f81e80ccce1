"""Files that are there whole or not at all."""

import pytest

from pipeline.files import written_whole


def test_a_file_comes_when_all_of_it_is_written(tmp_path):
    path = tmp_path / "folder" / "a.bin"
    with written_whole(path) as fresh:
        fresh.write_bytes(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole" and list(path.parent.iterdir()) == [path]


def test_what_fails_leaves_the_file_that_was_there(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt), written_whole(path) as fresh:
        fresh.write_bytes(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_removed(tmp_path):
    path = tmp_path / "a.bin"
    (tmp_path / "a.bin.1-1.fresh").write_bytes(b"half")
    with written_whole(path) as fresh:
        fresh.write_bytes(b"whole")
    assert list(tmp_path.iterdir()) == [path]
