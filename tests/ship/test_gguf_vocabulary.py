"""Token ids in llama.cpp are those of transformers, for every kind of tokenizer that is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM, PreTrainedTokenizerFast

from fakes import TEMPLATE
from llama_cpp_library import LlamaCpp
from shared_paths import material
from tunesmith.core.errors import ModelError
from tunesmith.core.records import Message
from tunesmith.models.chat import open_chat
from tunesmith.models.load import BaseFolder, find_base, load_tokenizer
from tunesmith.ship.gguf import GgufFile, write_gguf
from tunesmith.ship.gguf import pre_tokenizers as known
from tunesmith.ship.gguf.vocabulary import vocabulary

SPECIAL = ("<pad>", "<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
GEMMA = TEMPLATE.replace("'<|' + message['role'] + '|>", "'<start_of_turn>' + message['role'] + '").replace(
    "<|end|>", "<end_of_turn>"
)
MARKS = ("tekken", "gpt-4o")
TEXTS = (
    "The patient was discharged on Monday, 4.5 km from 1999; it's 3333333 o'clock.",
    "Größe, naïve café — “quoted” … ﬁ ½ ²",
    "東京タワー と Привет мир, שלום עולם, नमस्ते दुनिया, កាន់តែពិសេស 한국어 ไทย",
    "def f(x):\n    return x ** 2  # ok\n\n\tif (a[i] != '\\n'):\r\n\t\tprint(f\"{a}\")\n",
    "🚀 (normal) 😶‍🌫️ (joined) ✅ 🦙🦙 👩🏽‍💻 🇩🇪",
    " leading,  two   three    four \n\n\n lines \t tabs \t\t and trailing  ",
    "I've I'VE we'll WE'LL don't DON'T CamelCaseWORD snake_case 100% $5 a@b.org http://x.y/z?q=1&r=2",
    "",
    " ",
    "\n",
)


def folder_with(tokenizer: Any, folder: Path, *, phi: bool = False, rows: int = 0) -> BaseFolder:
    """A model of two tiny layers for this tokenizer, or for the files of it that are in `folder`."""
    size = rows or len(tokenizer)
    shape: dict[str, Any] = {
        "vocab_size": size,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
    }
    torch.manual_seed(0)
    if phi:
        model: Any = Phi3ForCausalLM(Phi3Config(**shape, original_max_position_embeddings=512))
    else:
        model = LlamaForCausalLM(LlamaConfig(**shape, tie_word_embeddings=True))
    model.save_pretrained(folder, safe_serialization=True)
    if not (folder / "tokenizer.json").exists():
        tokenizer.save_pretrained(folder)
    found: BaseFolder = find_base(str(folder), offline=True)
    return found


def exported(folder: BaseFolder, place: Path) -> tuple[GgufFile, LlamaCpp]:
    written = write_gguf(folder, place / "model.gguf", quant="f16")
    return written, LlamaCpp(written.path)


def unequal(folder: BaseFolder, opened: LlamaCpp, texts: tuple[str, ...] = TEXTS) -> list[str]:
    tokenizer = load_tokenizer(folder)
    return [text for text in texts if opened.tokenize(text, around=True) != tokenizer(text)["input_ids"]]


def trained(cut: Any, *, normaliser: Any = None, ignore_merges: bool = False) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of some hundred merges, learned from the texts, that cuts with `cut`."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = cut
    if normaliser is not None:
        tokenizer.normalizer = normaliser
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=list(SPECIAL), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([text for text in TEXTS for _ in range(4)], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="<|end|>", pad_token="<pad>", chat_template=TEMPLATE
    )


def by(pattern: str) -> Any:
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )


CUTS: dict[str, tuple[Any, bool]] = {
    "gpt-2": (pre_tokenizers.ByteLevel(add_prefix_space=False), False),
    "smollm": (
        pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        ),
        False,
    ),
    "llama-bpe": (by(known._LLAMA3), True),
    "smaug-bpe": (by(known._LLAMA3), False),
    "qwen2": (by(known._QWEN2), False),
    "tekken": (by(known._TEKKEN), True),
    "gpt-4o": (by(known._GPT4O), False),
}


@pytest.mark.parametrize("name", CUTS)
def test_byte_level_tokenizers_give_the_same_ids(name: str, tmp_path: Path) -> None:
    cut, ignore_merges = CUTS[name]
    folder = folder_with(trained(cut, ignore_merges=ignore_merges), tmp_path / "model")
    _, opened = exported(folder, tmp_path)
    made = vocabulary(json.loads((folder.path / "tokenizer.json").read_text()), 900)
    assert made.pre == name
    if name in MARKS:
        assert "combining marks" in made.differences[0]
        assert unequal(folder, opened, TEXTS[2:3])
    assert unequal(folder, opened, TEXTS[:2] + TEXTS[3:] if name in MARKS else TEXTS) == []


def test_the_pre_tokenizer_of_another_model_gives_other_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_with(trained(CUTS["gpt-2"][0]), tmp_path / "model")
    monkeypatch.setattr(known, "_KNOWN", {steps: known.PreTokenizer("qwen2") for steps in known._KNOWN})
    _, opened = exported(folder, tmp_path)
    assert unequal(folder, opened)


def test_a_pattern_that_is_not_known_is_refused_with_those_that_are(tmp_path: Path) -> None:
    folder = folder_with(trained(by(r"\p{L}+|\s+")), tmp_path / "model")
    with pytest.raises(ModelError, match="no pre-tokenizer that is known") as caught:
        write_gguf(folder, tmp_path / "model.gguf", quant="f16")
    assert "qwen2" in caught.value.problems[0].expected


def test_characters_that_transformers_composes_are_reported_as_a_difference(tmp_path: Path) -> None:
    folder = folder_with(trained(by(known._QWEN2), normaliser=normalizers.NFC()), tmp_path / "model")
    written, opened = exported(folder, tmp_path)
    assert any("does not compose characters" in text for text in written.differences)
    assert unequal(folder, opened) == []
    assert unequal(folder, opened, ("cafe\u0301",))


def pieces(normaliser: Any, cut: Any) -> PreTrainedTokenizerFast:
    """A tokenizer over pieces with a byte fallback, in which spaces are a letter, as SentencePiece makes them."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    special = [
        "<pad>",
        "<eos>",
        "<bos>",
        "<unk>",
        "<start_of_turn>",
        "<end_of_turn>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
    ]
    trainer = trainers.BpeTrainer(vocab_size=1200, special_tokens=special, show_progress=False, limit_alphabet=60)
    words = [word for text in TEXTS[:2] for word in text.replace(" ", " ▁").split()]
    tokenizer.train_from_iterator(words * 4, trainer)
    tokenizer.normalizer, tokenizer.pre_tokenizer = normaliser, cut
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    spec = json.loads(tokenizer.to_str())
    spec["added_tokens"] = [token for token in spec["added_tokens"] if not token["content"].startswith("<0x")]
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(spec)),
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        pad_token="<pad>",
        chat_template=GEMMA,
    )


def test_pieces_without_a_space_in_front_give_the_same_ids(tmp_path: Path) -> None:
    """As Gemma cuts."""
    fast = pieces(normalizers.Replace(" ", "▁"), pre_tokenizers.Split(" ", "merged_with_previous"))
    folder = folder_with(fast, tmp_path / "model")
    written, opened = exported(folder, tmp_path)
    assert unequal(folder, opened) == []
    assert fast("東").input_ids == [fast.convert_tokens_to_ids(f"<0x{byte:02X}>") for byte in "東".encode()]
    assert opened.ends(range(len(fast))) == set(open_chat(folder).end_ids)
    assert written.differences == ()


def test_pieces_with_a_space_in_front_give_the_same_ids(tmp_path: Path) -> None:
    """As Llama 2 cuts: a space is put in front of every stretch of plain text."""
    fast = pieces(normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None)
    folder = folder_with(fast, tmp_path / "model")
    _, opened = exported(folder, tmp_path)
    assert unequal(folder, opened, (*TEXTS, "a<start_of_turn>b")) == []


def test_a_space_in_front_of_the_first_word_alone_is_as_the_chat_needs_it(tmp_path: Path) -> None:
    """As transformers cuts for newer Llama tokenizers; prompts begin with a control token, so that no word is the first."""
    folder = folder_with(pieces(None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False)), tmp_path / "model")
    written, opened = exported(folder, tmp_path)
    chat = open_chat(folder)
    question = [Message(role="user", content=TEXTS[0])]
    assert opened.tokenize(chat.render(question, answer_next=True)) == chat.encode_prompt(question)
    assert any("no space in front of its first word" in text for text in written.differences)
    assert unequal(folder, opened, ("Hello",))


def test_the_tokenizer_of_phi_3_gives_the_ids_of_transformers_and_of_llama_cpp(tmp_path: Path) -> None:
    shutil.copytree(material("models/tokenizers/phi-3-mini"), tmp_path / "model")
    folder = folder_with(None, tmp_path / "model", phi=True, rows=32_064)
    _, opened = exported(folder, tmp_path)
    chat = open_chat(folder)
    messages = [Message(role="user", content=TEXTS[0]), Message(role="assistant", content=TEXTS[1])]
    question = [*messages, Message(role="user", content=TEXTS[3].strip())]
    assert opened.tokenize(chat.render(question, answer_next=True)) == chat.encode_prompt(question)
    assert unequal(folder, opened) == []
    assert opened.ends(range(32_064)) >= set(chat.end_ids)


@pytest.mark.parametrize(("tokenizer", "expected"), [("llama2", "llama-spm"), ("phi-3-mini", "phi-3")])
def test_vocabularies_of_pieces_reproduce_the_ids_that_llama_cpp_expects(tokenizer: str, expected: str, tmp_path: Path) -> None:
    place = material("models/gguf-vocab")
    texts = (place / f"ggml-vocab-{expected}.gguf.inp").read_text().removesuffix("\n__ggml_vocab_test__\n")
    ids = (place / f"ggml-vocab-{expected}.gguf.out").read_text().splitlines()
    spec = json.loads((material(f"models/tokenizers/{tokenizer}") / "tokenizer.json").read_text())
    spec["model"]["merges"] = [merge for merge in spec["model"]["merges"] if len(merge.split(" ")) == 2]
    fast = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(spec)), unk_token="<unk>", eos_token="</s>")
    folder = folder_with(fast, tmp_path / "model", rows=32_064)
    _, opened = exported(folder, tmp_path)
    pairs = list(zip(texts.split("\n__ggml_vocab_test__\n"), ids, strict=True))
    assert len(pairs) > 40
    assert [text for text, line in pairs if opened.tokenize(text) != [int(token) for token in line.split()]] == []


def test_the_embedded_base_differs_only_where_the_file_says(tmp_path: Path) -> None:
    folder = find_base("apprentice")
    written, opened = exported(folder, tmp_path)
    assert any("before a digit" in text for text in written.differences)
    assert unequal(folder, opened) == []
    assert unequal(folder, opened, ("one  2",))


def test_added_tokens_that_are_words_are_found_in_plain_text(tmp_path: Path) -> None:
    fast = trained(CUTS["gpt-2"][0])
    fast.add_tokens([AddedToken("<tool_call>", special=False, normalized=False)])
    folder = folder_with(fast, tmp_path / "model")
    _, opened = exported(folder, tmp_path)
    token = fast.convert_tokens_to_ids("<tool_call>")
    assert token in opened.tokenize("a <tool_call> b", special=False)
    assert unequal(folder, opened, ("a <tool_call> b", "a<|end|>b")) == []
