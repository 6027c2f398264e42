"""Small text in several scripts for tests; every sentence is a function of its number."""

import itertools

WORDS = {
    "de": "der die das Haus Fluss Brücke grün alt neu steht fließt neben unter am Wald Stadt Straße öffnet Tür",
    "en": "the house river bridge green old new stands flows beside under near forest city street opens door a",
    "hi": "घर नदी पुल हरा पुराना नया खड़ा बहती पास नीचे वन शहर सड़क खुलता बंद दरवाज़ा एक बड़ा है और",
    "ru": "дом река мост зелёный старый новый стоит течёт рядом под лес город улица открывает дверь большой и",
}
CHINESE = "房子 河流 桥 绿色 旧 新 站 流 旁边 下面 森林 城市 街道 打开 关闭 门 一个 大 的 和"


def sentences(language, count, start=0):
    """List of `count` different sentences in `language` (en, de, ru, hi, zh) of 3 to 10 words."""
    words = (CHINESE if language == "zh" else WORDS[language]).split()
    separator, end = ("", "。") if language == "zh" else (" ", ".")
    made = []
    for number in range(start, start + count):
        # The first three words count up, so that no two sentences are equal; the rest varies the length.
        rest, digits = number, []
        for _ in range(3):
            rest, digit = divmod(rest, len(words))
            digits.append(digit)
        digits += [(7 * number + 3 * place) % len(words) for place in range(number % 8)]
        made.append(separator.join(words[digit] for digit in digits) + end)
    return made


def multilingual_sentences(count):
    """`count` sentences of each language, all in one list."""
    return list(itertools.chain.from_iterable(sentences(language, count) for language in [*WORDS, "zh"]))
