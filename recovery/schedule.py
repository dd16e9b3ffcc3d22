"""How one layer of a cluster passes through memory: the arithmetic in bytes, apart from the weights themselves."""

from collections.abc import Iterator
from dataclasses import dataclass

WEIGHT_BYTES = 4
MEMBER_WORK_BYTES = 48
"""Held per weight of a block of all members: as float32 twice, and at most five matrices of float64."""
PAIR_WORK_BYTES = 32
"""Held per weight of the pairs under comparison: two matrices of float64, and what reductions hold."""
JUDGED_WORK_BYTES = 80
"""Held per row and column of the pairs that are judged at once: ten sums and what is made of them, float64."""
FEWEST_FOR_PRODUCTS = 4
"""Members from which products of matrices beat one pair after another."""
PRODUCTS_SHARE = 16
"""Such products are made where they take at most one part in so many of the memory."""
PRODUCT_NUMBERS = 2**18
"""Numbers of lines of all members that are multiplied at once, and of the products: both stay in the cache."""
PRODUCT_ENDS = 4
"""Members that are multiplied are made up to a multiple of so many: rows of odd length halve the rate of products."""
PRODUCT_COLS = 32
"""Columns turned into lines at once: two cache lines of every row."""
BLOCKS_SHARE = 4
"""Blocks that are worked on side by side take at most one part in so many of the memory."""
BLOCK_WEIGHTS = 2**18
"""Weights of all members in a block: what pairs share stays in the processor's cache while they are compared."""
PAIR_WEIGHTS = 2**16
"""Weights of one pair, or of several small ones, compared at once."""
SPECTRUM_NUMBERS = 2**18
"""Numbers of Gram matrices that are judged at once: operations on one alone take as long to begin as to end."""
LINE_ASPECT = 4
"""Weights that are taken of a sampled line, over the number of lines asked for."""
LOOPS_FROM = 2**27
"""Weights of pairs and twice those of members from which compiled loops, which save 2.4 to 4.4 ns of each, are worth
the 0.5 s that loading them takes."""
DENSE = 3
"""Pairs of members are compared all at once where at least one in so many is wanted: one alone costs so much more."""


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What decides a layer's memory: `members` x `rows` x `cols` weights, `pairs` wanted, spectra of `lines`."""

    members: int
    pairs: int
    rows: int
    cols: int
    lines: int  # asked for; a layer has `order` of them at most

    @property
    def order(self) -> int:
        """Lines that spectra are taken from."""
        return min(self.rows, self.cols, self.lines)

    @property
    def all_pairs(self) -> int:
        """How many pairs there are, wanted or not."""
        return self.members * (self.members - 1) // 2

    @property
    def line_bytes(self) -> int:
        """What is sampled of all members."""
        return self.members * self.sampled * WEIGHT_BYTES

    @property
    def sampled(self) -> int:
        """Weights of one member that its spectra are taken from."""
        return self.order * taken_of_line(max(self.rows, self.cols), self.lines)

    @property
    def pair_bytes(self) -> int:
        """Kept per pair until its layer is complete: two float64 sums per row and column."""
        return 16 * (self.rows + self.cols)

    @property
    def kept_bytes(self) -> int:
        """Kept per layer: squares and ranges of every member's rows and columns, and the lines for the spectrum."""
        return self.members * 8 * (self.rows + 2 * self.cols) + self.line_bytes

    @property
    def row_bytes(self) -> int:
        """One row of all members, and of one as its source hands it over."""
        return (self.members + 1) * self.cols * WEIGHT_BYTES


@dataclass(frozen=True, slots=True)
class ProductSteps:
    """How lines of all members are multiplied: so many `rows` at once; so many `cols`, `col_rows` of each at a time.

    `pairs` are compared at once where digits were lost.
    """

    rows: int
    cols: int
    col_rows: int
    pairs: int

    @classmethod
    def of(cls, shape: LayerShape) -> "ProductSteps":
        """The most that keeps lines and products in the cache."""
        ends = product_ends(shape.members)
        cols = max(1, min(shape.cols, PRODUCT_COLS, PRODUCT_NUMBERS // ends**2))
        rows = max(1, min(shape.rows, PRODUCT_NUMBERS // (ends * max(shape.cols, ends))))
        col_rows = max(1, min(shape.rows, PRODUCT_NUMBERS // (ends * cols)))
        return cls(rows, cols, col_rows, _at_once(shape, max(rows * shape.cols, cols * col_rows)))

    def bytes(self, shape: LayerShape) -> int:
        """Lines of all members in float64 twice, their products, and seven numbers of every pair."""
        ends = product_ends(shape.members)
        weights = max(self.rows * shape.cols, self.cols * self.col_rows)
        compared = self.pairs * weights * PAIR_WORK_BYTES
        return 16 * ends * weights + 8 * max(self.rows, self.cols) * (ends**2 + 7 * shape.pairs) + compared


@dataclass(frozen=True, slots=True)
class LayerSchedule:
    """Rows per tile and per block of a tile, blocks worked on at once, pairs per pass over the tiles and at once.

    `judged_pairs` are judged at once when the layer is complete, `spectrum_pairs` of these have their spectra at once;
    `judging` threads do so side by side.
    `dense` says whether a pass compares all pairs of members as wholes and picks those wanted, `products` how their
    sums by row and column come from products of all members, if they do.

    A layer of one tile is read once whatever the passes; a layer of several is read once for its range and once for
    every pass, since no pair's spread can be known before the last row has been seen. Of such a layer two tiles are
    held: the next is read while one is compared.
    """

    tile_rows: int
    block_rows: int
    blocks: int
    pass_pairs: int
    batch_pairs: int
    judged_pairs: int
    spectrum_pairs: int
    judging: int
    dense: bool
    products: ProductSteps | None


def plan_layer(shape: LayerShape, memory_bytes: int, *, threads: int = 1) -> LayerSchedule:
    """The schedule of the fewest reads whose layer, sums and work together stay within `memory_bytes`.

    Of few members, `threads` take so many blocks side by side, as far as these take their share of the memory at most;
    so they do with pairs that are judged.
    One row of every member, one pair's sums, what is kept of the layer, and the work on one block must fit: below that
    the smallest steps are taken and the bound is exceeded.
    """
    products = _pays_products(shape, memory_bytes)
    side_by_side = threads if shape.members < FEWEST_FOR_PRODUCTS else 1
    blocks = max(1, min(side_by_side, memory_bytes // BLOCKS_SHARE // block_bytes(shape)))
    judging = max(1, min(threads, _batches(shape), memory_bytes // BLOCKS_SHARE // judged_bytes(shape)))
    work = work_bytes(shape, products=products, blocks=blocks, judging=judging)
    free = memory_bytes - work - shape.kept_bytes
    whole, pair_bytes = shape.rows * shape.row_bytes, shape.pair_bytes
    fits = whole + pair_bytes <= free
    passes = max(1, min(shape.pairs, (free - whole if fits else free // 2) // pair_bytes))
    tiles = 1 if fits else 2
    tile_rows = max(1, min(shape.rows, (free - passes * pair_bytes) // (tiles * shape.row_bytes)))
    dense = passes * DENSE >= shape.all_pairs
    return LayerSchedule(
        tile_rows=tile_rows,
        block_rows=min(block_rows_of(shape), tile_rows),
        blocks=blocks,
        pass_pairs=passes,
        batch_pairs=_at_once(shape, block_rows_of(shape) * shape.cols),
        judged_pairs=judged_at_once(shape),
        spectrum_pairs=_spectra_at_once(shape),
        judging=judging,
        dense=dense,
        products=ProductSteps.of(shape) if products and dense else None,
    )


def sweeps(shape: LayerShape, plan: LayerSchedule) -> Iterator[tuple[int, int]]:
    """First and last row (half-open) of every tile in the order in which they are read."""
    passes = max(1, -(-shape.pairs // plan.pass_pairs))
    for _ in range(1 if plan.tile_rows >= shape.rows else 1 + passes):
        yield from spans(shape.rows, plan.tile_rows)


def held_bytes(shape: LayerShape, plan: LayerSchedule) -> int:
    """The most that is held at once where a layer passes by this plan."""
    sums = plan.pass_pairs * shape.pair_bytes
    tiles = 1 if plan.tile_rows >= shape.rows else 2
    work = work_bytes(shape, products=plan.products is not None, blocks=plan.blocks, judging=plan.judging)
    return tiles * plan.tile_rows * shape.row_bytes + sums + shape.kept_bytes + work


def _pays_products(shape: LayerShape, memory_bytes: int) -> bool:
    wanted = shape.members >= FEWEST_FOR_PRODUCTS and shape.pairs * DENSE >= shape.all_pairs
    return wanted and ProductSteps.of(shape).bytes(shape) * PRODUCTS_SHARE <= memory_bytes


def product_ends(members: int) -> int:
    """Lines that are multiplied for so many members and the one that stands for all, with those that fill up."""
    return -(-(1 + members) // PRODUCT_ENDS) * PRODUCT_ENDS


def taken_of_line(length: int, lines: int) -> int:
    """Weights that are taken of a line of this length where so many lines are asked for."""
    return min(length, LINE_ASPECT * lines)


def block_rows_of(shape: LayerShape) -> int:
    """Rows of a block, where tiles are no shorter."""
    weights = min(BLOCK_WEIGHTS // shape.members, PAIR_WEIGHTS)
    return max(1, min(shape.rows, weights // shape.cols))


def _at_once(shape: LayerShape, numbers: int) -> int:
    """Pairs of so many numbers each."""
    return max(1, min(shape.pairs, PAIR_WEIGHTS // numbers))


def _spectra_at_once(shape: LayerShape) -> int:
    """Pairs that are subtracted at once, or more where their Gram matrices are small."""
    return max(_at_once(shape, shape.sampled), min(shape.pairs, SPECTRUM_NUMBERS // shape.order**2))


def block_bytes(shape: LayerShape) -> int:
    """What the work on one block takes: of all members, and of pairs under comparison."""
    block = block_rows_of(shape) * shape.cols
    return shape.members * block * MEMBER_WORK_BYTES + _at_once(shape, block) * block * PAIR_WORK_BYTES


def judged_at_once(shape: LayerShape) -> int:
    """Pairs whose lines are judged together."""
    return _at_once(shape, shape.rows + shape.cols)


def _batches(shape: LayerShape) -> int:
    return -(-shape.pairs // judged_at_once(shape)) if shape.pairs else 1


def judged_bytes(shape: LayerShape) -> int:
    """What it takes to judge pairs: their lines, and differences and Gram matrices of their spectra."""
    line = shape.rows + shape.cols
    spectra = _at_once(shape, shape.sampled) * 24 * shape.sampled + _spectra_at_once(shape) * 40 * shape.order**2
    return judged_at_once(shape) * line * JUDGED_WORK_BYTES + spectra


def work_bytes(shape: LayerShape, *, products: bool, blocks: int = 1, judging: int = 1) -> int:
    """What the steps take: blocks under comparison, products of members, and pairs when they are judged.

    These follow one another, but are added up: what one leaves behind is too scattered for the allocator to give back.
    """
    multiplied = ProductSteps.of(shape).bytes(shape) if products else 0
    return blocks * block_bytes(shape) + multiplied + judging * judged_bytes(shape)


def loops_pay(members: int, pairs: int, weights: int) -> bool:
    """Whether compiled loops save more than loading them takes, in a pass over members of so many weights each."""
    return weights * (2 * members + pairs) >= LOOPS_FROM


def spans(total: int, step: int) -> Iterator[tuple[int, int]]:
    """Half-open intervals of at most `step` that cover 0 to `total` in order."""
    for start in range(0, total, step):
        yield start, min(start + step, total)
