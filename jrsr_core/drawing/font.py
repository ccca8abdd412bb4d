"""Capital letters, digits and signs of five by seven pixels, for captions without a font library.

Every glyph is seven numbers below 32, one per row, the highest bit on the left.
"""

import numpy as np

HEIGHT, WIDTH, ADVANCE = 7, 5, 6

_ROWS = """
A 14 17 17 31 17 17 17
B 30 17 17 30 17 17 30
C 14 17 16 16 16 17 14
D 30 17 17 17 17 17 30
E 31 16 16 30 16 16 31
F 31 16 16 30 16 16 16
G 14 17 16 23 17 17 14
H 17 17 17 31 17 17 17
I 14 4 4 4 4 4 14
J 7 2 2 2 2 18 12
K 17 18 20 24 20 18 17
L 16 16 16 16 16 16 31
M 17 27 21 21 17 17 17
N 17 25 21 19 17 17 17
O 14 17 17 17 17 17 14
P 30 17 17 30 16 16 16
Q 14 17 17 17 21 18 13
R 30 17 17 30 20 18 17
S 15 16 16 14 1 1 30
T 31 4 4 4 4 4 4
U 17 17 17 17 17 17 14
V 17 17 17 17 17 10 4
W 17 17 17 21 21 27 17
X 17 17 10 4 10 17 17
Y 17 17 10 4 4 4 4
Z 31 1 2 4 8 16 31
0 14 17 19 21 25 17 14
1 4 12 4 4 4 4 14
2 14 17 1 6 8 16 31
3 14 17 1 6 1 17 14
4 2 6 10 18 31 2 2
5 31 16 30 1 1 17 14
6 14 16 16 30 17 17 14
7 31 1 2 4 4 8 8
8 14 17 17 14 17 17 14
9 14 17 17 15 1 1 14
. 0 0 0 0 0 12 12
, 0 0 0 0 4 4 8
: 0 12 12 0 12 12 0
- 0 0 0 31 0 0 0
+ 0 4 4 31 4 4 0
/ 1 1 2 4 8 16 16
| 4 4 4 4 4 4 4
( 2 4 8 8 8 4 2
) 8 4 2 2 2 4 8
% 24 25 2 4 8 19 3
= 0 0 31 0 31 0 0
_ 0 0 0 0 0 0 31
"""


def _glyph(rows: list[str]) -> np.ndarray:
    bits = np.array([int(r) for r in rows], np.uint8)
    return np.unpackbits(bits[:, None], axis=1)[:, 8 - WIDTH :].astype(bool)


GLYPHS = {line[0]: _glyph(line.split()[1:]) for line in _ROWS.strip().splitlines()}


def draw_text(text: str, scale: int = 2) -> np.ndarray:
    """Return boolean ``(7 scale, 6 scale n)`` of the text in capitals; unknown signs are blank."""
    canvas = np.zeros((HEIGHT, ADVANCE * len(text)), dtype=bool)
    for i, character in enumerate(text.upper()):
        if character in GLYPHS:
            canvas[:, i * ADVANCE : i * ADVANCE + WIDTH] = GLYPHS[character]
    return canvas.repeat(scale, axis=0).repeat(scale, axis=1)
