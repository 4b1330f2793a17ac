"""Which language a text is in, as far as its letters and its commonest words tell: cheap, and good for shares.

A script of one language's own decides by itself; Latin and Cyrillic letters are told apart by the words that every
text of a language is full of. Words that several of these languages have speak for each of them in part.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping

UNCLEAR = "unclear"
"""A Latin or Cyrillic text with too few of the words that tell."""
NO_LETTERS = "no letters"
_LEAST = 1.0
"""What the words of a language must count for together."""

# first and last code point, script; of the blocks that people write in most
_BLOCKS = (
    (0x0041, 0x024F, "Latin"),
    (0x0370, 0x03FF, "Greek"),
    (0x0400, 0x052F, "Cyrillic"),
    (0x0530, 0x058F, "Armenian"),
    (0x0590, 0x05FF, "Hebrew"),
    (0x0600, 0x077F, "Arabic"),
    (0x0900, 0x097F, "Devanagari"),
    (0x0980, 0x09FF, "Bengali"),
    (0x0B80, 0x0BFF, "Tamil"),
    (0x0E00, 0x0E7F, "Thai"),
    (0x10A0, 0x10FF, "Georgian"),
    (0x1E00, 0x1EFF, "Latin"),
    (0x1F00, 0x1FFF, "Greek"),
    (0x3040, 0x30FF, "Japanese"),
    (0x3400, 0x9FFF, "Chinese"),
    (0xAC00, 0xD7AF, "Korean"),
    (0xFB50, 0xFDCF, "Arabic"),
    (0xFE70, 0xFEFF, "Arabic"),
)
_FIRSTS = [first for first, _, _ in _BLOCKS]

_WORDS: Mapping[str, Mapping[str, str]] = {
    "Latin": {
        "English": "the and of to is that it you was for with have this are not but what be on i my he we they do",
        "German": "der die das und ist nicht ein eine ich du es sie wir mit auf den dem von zu für auch sich wie was",
        "French": "le la les et est un une des que qui ne pas je vous il elle nous dans pour ce du sur avec au être",
        "Spanish": "el la los las y es un una que de no en por con para se lo como su más pero yo está mi muy",
        "Italian": "il lo la gli e è un una che di non per con sono si come del della ma io questo mi nel anche",
        "Portuguese": "o a os as e é um uma que de não em por com para se como do da mas eu seu mais você isso",
        "Dutch": "de het een en is niet van ik je dat wij ze met op voor zijn er maar ook aan te wat hij",
        "Swedish": "och det är en ett att jag du inte som på med för den av har vi han hon men till",
        "Polish": "i w nie się na to jest że z do jak co tak ja ty czy ale po był o za",
        "Turkish": "ve bir bu da de için ile ben sen çok ne var mı mi değil ama gibi daha olan",
        "Indonesian": "yang dan di itu ini tidak dengan untuk dari saya anda ada dalam akan pada ke",
        "Latin": "et in est non ut ad cum sed qui quae quod ex per ab sunt esse hoc nec si",
    },
    "Cyrillic": {
        "Russian": "и в не на я что он с как это по но она к у вы мы же за бы так",
        "Ukrainian": "і в не на я що він з як це по але вона до у ви ми та за й є",
        "Bulgarian": "и в не на аз че той с как това по но тя за от да се е са ще",
    },
}
_WORD = re.compile(r"[^\W\d_]+")


def _tables() -> dict[str, dict[str, list[tuple[str, float]]]]:
    """By script and word: the languages that have it, and what it counts for each."""
    found: dict[str, dict[str, list[tuple[str, float]]]] = {}
    for script, languages in _WORDS.items():
        having: dict[str, list[str]] = {}
        for language, words in languages.items():
            for word in words.split():
                having.setdefault(word, []).append(language)
        found[script] = {
            word: [(language, 1 / len(names)) for language in names] for word, names in having.items()
        }
    return found


_TABLES = _tables()


def language(text: str) -> str:
    """A language, a script where that is all that can be told, `unclear` or `no letters`."""
    letters = [character for character in text if character.isalpha()]
    if not letters:
        return NO_LETTERS
    scripts = Counter(map(_script, letters))
    if scripts["Japanese"] and scripts["Chinese"] + scripts["Japanese"] > len(letters) / 2:
        return "Japanese"  # which writes Chinese signs among its own
    script, _ = scripts.most_common(1)[0]
    if script not in _TABLES:
        return script
    counts: dict[str, float] = {}
    for word in _WORD.findall(text.lower()):
        for name, weight in _TABLES[script].get(word, ()):
            counts[name] = counts.get(name, 0.0) + weight
    if not counts:
        return UNCLEAR
    best, most = max(counts.items(), key=lambda found: found[1])
    return best if most >= _LEAST else UNCLEAR


def _script(letter: str) -> str:
    point = ord(letter)
    at = bisect_right(_FIRSTS, point) - 1
    return _BLOCKS[at][2] if at >= 0 and point <= _BLOCKS[at][1] else "another script"
