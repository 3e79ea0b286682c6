import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from train.__main__ import main
from train.data.text_table import (
    TextTableError,
    absence,
    clip,
    hashed,
    known_strings,
    read_text_table,
    write_text_table,
)


def test_hashed_words_are_the_same_everywhere_and_alike_where_words_are_shared() -> None:
    table = hashed(["lip tightener", "eyelid tightener", "jaw drop"], 64)
    assert table.vectors[2, :3].tolist() == pytest.approx([0.0129, -0.0229, -0.0928], abs=1e-4)
    np.testing.assert_allclose(np.linalg.norm(table.vectors, axis=1), 1, rtol=1e-6)
    similar = table.vectors @ table.vectors.T
    assert similar[0, 1] > 0.3 > abs(similar[0, 2])


def test_the_command_makes_a_table_of_all_strings_that_are_asked_for(tmp_path: Path) -> None:
    out = tmp_path / "made" / "texts.npz"
    done = CliRunner().invoke(main, ["text-table", "--out", str(out), "--string", "wave"], catch_exceptions=False)
    assert done.exit_code == 0
    table = read_text_table(out)
    assert table.strings == (*known_strings(), "wave")
    assert table.of(["wave", absence("jaw drop")]).shape == (2, 512)
    with pytest.raises(TextTableError, match="lacks 'unheard of'"):
        table.of(["jaw drop", "unheard of"])


def test_what_is_no_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(TextTableError, match=r"gone\.npz: no text table"):
        read_text_table(tmp_path / "gone.npz")
    np.savez(tmp_path / "other.npz", strings=np.array(["a", "b"]), vectors=np.zeros((3, 4)))
    with pytest.raises(TextTableError, match=r"expected finite vectors \(2, d\), got \(3, 4\)"):
        read_text_table(tmp_path / "other.npz")


def test_a_folder_without_clip_is_named(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers, the extra `text`, is not installed")
    with pytest.raises(TextTableError, match="no CLIP text encoder"):
        clip(["jaw drop"], tmp_path)


def test_clip_text_features_as_the_model_itself_gives_them(tmp_path: Path) -> None:
    """A tiny CLIP text tower with random weights, in a local folder."""
    pytest.importorskip("transformers", reason="transformers, the extra `text`, is not installed")
    import torch
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = [*letters, *(f"{c}</w>" for c in letters), "ja", "<|startoftext|>", "<|endoftext|>"]
    (tmp_path / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nj a\n")
    tokenizer = CLIPTokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"))
    config = CLIPTextConfig(
        vocab_size=len(tokens), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        projection_dim=8, bos_token_id=len(tokens) - 2, eos_token_id=len(tokens) - 1, pad_token_id=len(tokens) - 1,
    )  # fmt: skip
    torch.manual_seed(0)
    model = CLIPTextModelWithProjection(config).eval()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    table = clip(["jaw drop", "cheek raiser"], tmp_path)
    with torch.no_grad():
        alone = model(**tokenizer(["jaw drop"], return_tensors="pt")).text_embeds[0]  # without padding
    np.testing.assert_allclose(table.vectors[0], (alone / alone.norm()).numpy(), atol=1e-5)
    write_text_table(tmp_path / "t.npz", table)
    np.testing.assert_array_equal(read_text_table(tmp_path / "t.npz").vectors, table.vectors)
