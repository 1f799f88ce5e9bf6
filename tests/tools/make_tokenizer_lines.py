#!/usr/bin/env python3
"""Writes tests/data/tokenizer/lines.txt: the texts whose ids the tokenizer tests compare.

One text a line, in bytes: a backslash is \\\\, bytes outside printable ASCII are \\xNN where they are
control characters or no UTF-8, everything else stands as it is. Seeded: the same file every time.
"""
import random
import sys
import unicodedata

SENTENCES = [
    "The ferry left the harbour at dawn, and nobody on board had slept.",
    "I'm sure they'll say we've done what she'd asked; it's what he'd want, don't you think?",
    "Don't SHOUT: I'LL, WE'VE, YOU'RE, IT'S and HE'D are contractions too.",
    "Die Straßenbahn fährt heute nicht, weil über Nacht Schnee gefallen ist.",
    "L'été dernier, nous avons mangé des crêpes à la crème près de l'église Saint-Étienne.",
    "El niño pequeño corrió hacia el jardín; ¿quién lo habría imaginado?",
    "Amanhã não haverá aulas, porque a estação está fechada para manutenção.",
    "Perché l'acqua è più fredda laggiù? Non lo so, però è così.",
    "Завтра утром мы поедем на дачу, если не будет дождя.",
    "Щоденно в їхньому саду співають птахи, і це дуже гарно.",
    "Το πλοίο έφυγε από το λιμάνι πριν ξημερώσει.",
    "Wczoraj późnym wieczorem źrebię uciekło przez żółtą bramę.",
    "Příliš žluťoučký kůň úpěl ďábelské ódy pod starým mostem.",
    "Az árvíztűrő tükörfúrógép a szekrény mögött van.",
    "Bugün hava çok güzel, İstanbul'da ılık bir rüzgâr esiyor.",
    "Hôm nay trời đẹp quá, chúng ta đi dạo quanh hồ nhé.",
    "今天早上下了一场大雨,街上几乎没有人。",
    "我們明天下午三點在圖書館門口見面吧!",
    "昨日、駅前の本屋で古い地図を見つけました。とても嬉しかったです。",
    "コーヒーを一杯飲んでから、仕事を始めよう。",
    "오늘 아침에는 비가 와서 길이 아주 미끄러웠습니다.",
    "في الصباح الباكر غادرت السفينة الميناء ولم ينم أحد.",
    "הרכבת האחרונה יצאה לפני חצות, והתחנה הייתה ריקה.",
    "आज सुबह बारिश हो रही थी, इसलिए हम घर पर ही रहे।",
    "আজ সকালে আমরা নদীর ধারে হাঁটতে গিয়েছিলাম।",
    "இன்று காலை மழை பெய்தது, அதனால் நாங்கள் வீட்டில் இருந்தோம்.",
    "เมื่อเช้านี้ฝนตกหนักมาก ถนนจึงแทบไม่มีคนเดิน",
    "დღეს დილით წვიმდა და ქუჩაში არავინ იყო.",
    "Այսօր առավոտյան անձրև էր գալիս։",
    "ዛሬ ጠዋት ዝናብ ዘነበ።",
    "Leo asubuhi mvua ilinyesha sana, kwa hiyo tulibaki nyumbani.",
    "Í morgun rigndi mikið, svo að þau fóru ekki út.",
]
CODE = [
    "def area(w, h):\n    \"\"\"Width times height.\"\"\"\n    return w * h  # 12345\n",
    "for (int i = 0; i < n; ++i) {\n\tsum += a[i] * b[i];\r\n}\n",
    "SELECT id, COUNT(*) FROM orders WHERE price >= 19.99 GROUP BY id;",
    "fn main() -> Result<(), Box<dyn Error>> { println!(\"{:?}\", x?); Ok(()) }",
    "<div class=\"a b\"><a href='https://example.org/?q=1&r=2#top'>x</a></div>",
    "{\"key\": [1, 2.5e-10, null, true], \"nested\": {\"a\": \"\\u00e9\"}}",
    "#include <vector>\n#define MAX(a,b) ((a)>(b)?(a):(b))\n",
    "$ grep -rn 'TODO' --include=*.cc | awk -F: '{print $1\":\"$2}' | sort -u > /tmp/out",
    "x = lambda *args, **kw: [f'{k!r}={v:>10.3f}' for k, v in kw.items()]",
    "\t\t\tif err != nil {\n\t\t\t\treturn nil, fmt.Errorf(\"open %q: %w\", p, err)\n\t\t\t}\n",
    "\\begin{equation} e^{i\\pi} + 1 = 0 \\end{equation}",
    "0xDEADBEEF 0b1010 1_000_000 3.14159 -42 +7 1e9 v1.2.3-rc.4+build.5",
]
EMOJI = ["😀", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇯🇵", "❤️", "✈️", "1️⃣", "🧑🏿‍🚀", "🤷‍♀️", "☕", "🎉🎉🎉", "🦄"]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|end_of_text|>",
           "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|reserved_special_token_7|>",
           "<think>", "</think>", "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|file_sep|>",
           "<repo_name>", "<file_sep>", "<gh_stars>", "<|vision_pad|>", "<empty_output>"]
LOOKALIKE = ["<|im_start", "im_end|>", "<|im_end|", "< |im_start|>", "<||im_start|>", "<|IM_END|>",
             "<|im_start|im_start|>", "<s>", "</s>", "[INST]", "<|", "|>", "<<|eot_id|>>", "<unk>",
             "<think", "think>", "<|im_st\u200bart|>", "＜|im_end|＞", "<|endoftext|", "[PAD151935]"]
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", "\r", " \n", "\n ", "\t\t", "\u00a0", "\u2003",
          "\u3000", "\u200b", "\u2028", "\x0b", "\x0c", "\x85", "\ufeff", " " * 17, "\n" * 9, " \t" * 6]
BLOCKS = [(0x20, 0x7E), (0xA0, 0x17F), (0x180, 0x24F), (0x250, 0x2FF), (0x300, 0x36F), (0x370, 0x3FF),
          (0x400, 0x52F), (0x530, 0x5FF), (0x600, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F),
          (0x1100, 0x11FF), (0x1E00, 0x1EFF), (0x1F00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x218F),
          (0x2190, 0x23FF), (0x2460, 0x24FF), (0x2500, 0x27BF), (0x3040, 0x30FF), (0x3130, 0x318F),
          (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0xFB00, 0xFDFF), (0xFF00, 0xFFEF),
          (0x10000, 0x100FF), (0x1D400, 0x1D7FF), (0x1F300, 0x1F9FF), (0x20000, 0x200FF)]


def assigned(rng, low, high):
    while True:
        c = chr(rng.randint(low, high))
        if unicodedata.category(c) not in ("Cn", "Cs", "Co"):
            return c


def random_unicode(rng):
    out = []
    for _ in range(rng.randint(1, 6)):
        low, high = rng.choice(BLOCKS)
        out += [assigned(rng, low, high) for _ in range(rng.randint(1, 8))]
        out.append(rng.choice(["", " ", "", "'s", "\n", "1"]))
    return "".join(out)


def mutate(rng, text):
    data = bytearray(text.encode())
    for _ in range(rng.randint(1, 5)):
        i = rng.randrange(len(data) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            data.insert(i, rng.randrange(128, 256))
        elif kind == 1 and data:
            del data[min(i, len(data) - 1)]
        elif kind == 2:
            data[i:i] = rng.choice([b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xe2\x82",
                                    b"\xf0\x9f\x98", b"\xff\xfe", b"\xf0\x80\x80\x80", b"\xe0\x80"])
        else:
            data = data[:max(1, i)]
    return bytes(data)


def numbers(rng):
    digits = "".join(rng.choice("0123456789") for _ in range(rng.randint(1, 14)))
    return rng.choice(["{} items", "${}.99", "{}%", "no{}no", "{}\n{}", "½{}²", "٣{}४", "Ⅷ{}①"]).replace(
        "{}", digits)


def contraction(rng):
    word = rng.choice(["don", "I", "we", "she", "THEY", "Él", "o", "\u017f", "x9"])
    tail = rng.choice(["'t", "'s", "'re", "'VE", "'m", "'Ll", "'D", "'\u017f", "’s", "'", "''s", "'sx"])
    return rng.choice(["", " ", "\n", "_"]) + word + tail + rng.choice(["", " ", "!", "'s"])


def mixed(rng):
    pool = [SENTENCES, CODE, EMOJI, SPECIAL, LOOKALIKE, SPACES, SPACES]
    return "".join(rng.choice(rng.choice(pool)) for _ in range(rng.randint(2, 7)))


def spread(rng):
    words = rng.choice(SENTENCES).split(" ")
    return "".join(w + rng.choice(SPACES) for w in words)


def slice_of(rng):
    text = rng.choice(SENTENCES + CODE)
    start = rng.randrange(len(text))
    return text[start:start + rng.randint(1, 40)]


def decomposed(rng):
    text = unicodedata.normalize("NFD", rng.choice(SENTENCES))
    marks = "".join(rng.choice("\u0301\u0323\u0308\u0316\u0327") for _ in range(rng.randint(0, 5)))
    return text + "e" + marks + rng.choice(["", "\u212b", "\u2126", "\uf900", "\u1100\u1161\u11a8"])


def special(rng):
    parts = [rng.choice(SPECIAL + LOOKALIKE) for _ in range(rng.randint(1, 4))]
    return rng.choice(["", " ", "\n", "x"]).join(parts) + rng.choice(["", " tail", "\n"])


def run(rng):
    return rng.choice(["a", " ", "\n", "ab", "=", "-", "0", "é", "中", "😀", "\t", "!?", "ha"]) * rng.choice(
        [1, 2, 3, 7, 16, 31, 63, 64, 65, 200])


def texts():
    rng = random.Random(20261124)
    fixed = SENTENCES + CODE + EMOJI + SPECIAL + LOOKALIKE + SPACES
    yield from (t.encode() for t in fixed)
    kinds = [(random_unicode, 350), (numbers, 150), (contraction, 150), (mixed, 350), (spread, 250),
             (slice_of, 250), (decomposed, 150), (special, 250), (run, 100)]
    for make, count in kinds:
        yield from (make(rng).encode() for _ in range(count))
    yield from (mutate(rng, rng.choice([mixed, slice_of, random_unicode])(rng)) for _ in range(350))


def escape(data):
    out = []
    for c in data.decode("utf-8", "surrogateescape"):
        if c == "\\":
            out.append(b"\\\\")
        elif 0xDC80 <= ord(c) <= 0xDCFF:
            out.append(b"\\x%02x" % (ord(c) - 0xDC00))
        elif ord(c) < 0x20 or ord(c) == 0x7F:
            out.append(b"\\x%02x" % ord(c))
        else:
            out.append(c.encode())
    return b"".join(out)


def unescape(line):
    out = bytearray()
    i = 0
    while i < len(line):
        if line[i] != 0x5C:
            out.append(line[i])
            i += 1
        elif line[i + 1] == 0x5C:
            out.append(0x5C)
            i += 2
        else:
            out.append(int(line[i + 2:i + 4], 16))
            i += 4
    return bytes(out)


if __name__ == "__main__":
    with open(sys.argv[1], "wb") as f:
        for text in texts():
            line = escape(text)
            assert unescape(line) == text
            f.write(line + b"\n")
