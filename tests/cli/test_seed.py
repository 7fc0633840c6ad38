"""`--seed`: the noise of diffusion nets from the command line."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from attachtrans.cli import cli
from tests.models.diffusion_nets import sr3
from tests.test_pains import encoded, noise, pixels, stored, survey

torch.set_num_threads(1)


def run(folder, model, *options):
    folder.mkdir()
    photos = survey(folder, [encoded(noise(24, 16))])
    command = ["translate", str(photos), "-m", str(model), "--overwrite-attachments", "-q"]
    result = CliRunner().invoke(cli, [*command, "--no-backup", "--device", "cpu", *options])
    (photo,) = stored(photos)
    return result, pixels(photo)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_photo(tmp_path):
    model = sr3(tmp_path / "m.emd", downsample_factor=2)
    results = [
        run(tmp_path / name, model, "-a", "n_timestep=3", *options)
        for name, options in (
            ("a", ["--seed", "7"]),
            ("b", ["--seed", "7"]),
            ("c", ["-a", "seed=7"]),
            ("d", ["--seed", "8"]),
        )
    ]
    assert [result.exit_code for result, _ in results] == [0] * 4, results
    (first, again, as_argument, other) = (photo for _, photo in results)
    assert np.array_equal(first, again)
    assert np.array_equal(first, as_argument)
    assert not np.array_equal(first, other)


def test_a_net_without_noise_takes_no_seed(tmp_path):
    result, _ = run(tmp_path / "a", "sr-x2", "--seed", "7")
    assert result.exit_code != 0
    assert "seed" in str(result.exception or result.output)
