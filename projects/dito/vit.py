"""Plain vision transformer with windowed and global blocks, and shifted-window learning (DITO §3.3; ViTDet)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dense.layers.windows import join_windows, split_windows
from dense.modeling.backbones import TransformerSize
from dense.modeling.backbones import VisionTransformer as PlainTransformer
from dense.projects.dito.positions import crop_positions, resize_positions

__all__ = ["PATCH", "SIZES", "VisionTransformer", "window_pattern"]

PATCH = 16  # side, pixels


#: width, depth, heads by their names in MODEL.DITO.BACKBONE.SIZE; tiny is the world's
SIZES = {"tiny": (192, 6, 3), "base": (768, 12, 12), "large": (1024, 24, 16), "huge": (1280, 32, 16)}


def window_pattern(depth: int, grid: int, global_blocks: int) -> list[int | None]:
    """Windows of each block: a global block ends each of ``global_blocks`` equal parts of the depth.

    Args:
        depth: blocks.
        grid: rows and columns of windows in the other blocks; 0 = every block is global.
        global_blocks: 4 in the published trainable transformers, 1 in the frozen ones; 0 = none.

    Returns: for each block the grid of its windows, or ``None`` for a global one.
    Raises: ValueError if the parts are not equal.
    """
    if grid < 0 or global_blocks < 0 or (global_blocks and depth % global_blocks):
        raise ValueError(f"{depth} blocks with {global_blocks} global ones, grid {grid}: expected equal parts, a grid >= 0.")
    if grid == 0:
        return [None] * depth
    return [None if global_blocks and (i + 1) % (depth // global_blocks) == 0 else grid for i in range(depth)]


class VisionTransformer(PlainTransformer):
    """Image → map of stride 16.

    Tokens are put in the order of the windows once, before the first block: there windowed blocks are views of the batch, and
    global blocks do not mind the order. Only where blocks have windows of different grids are they sorted anew.

    Shifted-window learning is a second pass of the same blocks over the map rolled by half a window, averaged with the first:
    tokens on either side of a window's border meet there. Positions are not rolled.

    Args:
        width: channels C.
        depth: blocks.
        heads: attention heads; ``SIZES`` has the three numbers of the published sizes.
        grid: side of the table of positions, patches; that of the pretraining image.
        windows: grid of windows of each block, ``None`` for a global one (``window_pattern``); ``None`` = all are global.
        shift: of the second pass, tokens, rows up and columns right; 0 = one pass, ``None`` = half a window on each axis.
        together: run both passes as one batch, not one after the other.
        crop_side: grid to which positions are enlarged before they are cropped.
        drop_path: rate of the last block; it grows linearly from 0 at the first.
        checkpointing: in training, recompute the inside of blocks in the backward pass instead of keeping it.

    Raises: ValueError if ``windows`` has not one entry per block.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        grid: int = 14,
        windows: Sequence[int | None] | None = None,
        shift: int | None = 0,
        *,
        together: bool = False,
        crop_side: int = 64,
        drop_path: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__(
            TransformerSize(width, depth, heads, approximate="tanh", layer_scale=None),
            patch=PATCH,
            grid=grid,
            class_token=False,
            drop_path=drop_path,
            resize_positions=resize_positions,
            checkpointing=checkpointing,
        )
        nn.init.normal_(self.pos_embed, std=width**-0.5)
        self.windows = [None] * depth if windows is None else list(windows)
        if len(self.windows) != depth:
            raise ValueError(f"windows: {len(self.windows)} entries, expected one for each of {depth} blocks.")
        self.shift, self.together, self.crop_side = shift, together, crop_side

    def forward(self, images: Tensor, crops: Tensor | None = None) -> Tensor:
        """Feature map after the final norm.

        Args:
            images: ``(B, 3, H, W)`` RGB in [0, 1], no mean or deviation taken; sides multiples of patch × grid of windows.
            crops: in pretraining, the part of the enlarged table of positions that each image gets, ``(B, 4)`` boxes
                x1, y1, x2, y2 in its cells (see ``crop_positions``); ``None`` = the whole table resized to the map.

        Returns: ``(B, C, H/patch, W/patch)``, channels last in memory.
        Raises: ValueError if a side does not fit, or ``crops`` are not one per image.
        """
        patches = self.patches(images)  # (B, h, w, C)
        height, width = patches.shape[1:3]
        self._check_sides(height, width)
        if crops is not None and len(crops) != len(images):
            raise ValueError(f"crops: {len(crops)} of {len(images)} images, expected one for each.")
        positions = (
            self.resize_positions(self.pos_embed, height, width)
            if crops is None
            else crop_positions(self.pos_embed, crops, height, width, self.crop_side)
        ).unflatten(1, (height, width))  # (1 or B, h, w, C)
        maps = self.both_passes(patches, positions)
        return self.norm(maps).permute(0, 3, 1, 2)  # type: ignore[no-any-return]

    def both_passes(self, patches: Tensor, positions: Tensor) -> Tensor:
        """Patches and positions ``(B, h, w, C)`` → their map before the final norm, averaged over the shifts."""
        down, right = self._roll(*patches.shape[1:3])
        if not down and not right:
            return self.single_pass(patches + positions)
        rolled = patches.roll((-down, right), (1, 2))  # the content moves, positions stay
        if self.together:
            both = torch.stack((patches, rolled)) + positions  # (2, B, h, w, C)
            plain, shifted = self.single_pass(both.flatten(0, 1)).unflatten(0, (2, -1))
        else:
            plain, shifted = self.single_pass(patches + positions), self.single_pass(rolled + positions)
        return (plain + shifted.roll((down, -right), (1, 2))) / 2

    def single_pass(self, tokens: Tensor) -> Tensor:
        """Tokens ``(B, h, w, C)`` with their positions through all blocks, without the final norm; the same shape."""
        height, width = tokens.shape[1:3]
        order, x = 1, tokens.flatten(1, 2)  # (B, h·w, C), sorted by windows of a grid order × order
        for block, grid in zip(self.blocks, self.windows, strict=True):
            if grid is not None and grid != order:
                x = _sorted_by_windows(_row_by_row(x, order, height, width), grid)
                order = grid
            x = self.through(block, x, 1 if grid is None else grid**2)
        return _row_by_row(x, order, height, width)

    def _roll(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the second pass; 0, 0 if there is none."""
        if self.shift is not None:
            return self.shift, self.shift
        grid = max((grid for grid in self.windows if grid is not None), default=0)
        return (height // (2 * grid), width // (2 * grid)) if grid else (0, 0)

    def _check_sides(self, height: int, width: int) -> None:
        for grid in {grid for grid in self.windows if grid is not None}:
            if height % grid or width % grid:
                raise ValueError(
                    f"images: {height * self.patch} x {width * self.patch} pixels, expected multiples of"
                    f" {self.patch * grid} ({grid} x {grid} windows of whole patches). Pad them."
                )


def _sorted_by_windows(tokens: Tensor, grid: int) -> Tensor:
    """``(B, h, w, C)`` → ``(B, h·w, C)``, window after window."""
    batch, height, width, channels = tokens.shape
    return split_windows(tokens, (height // grid, width // grid)).view(batch, height * width, channels)


def _row_by_row(tokens: Tensor, grid: int, height: int, width: int) -> Tensor:
    """Undo ``_sorted_by_windows``."""
    if grid == 1:
        return tokens.unflatten(1, (height, width))
    windows = tokens.unflatten(1, (grid**2, -1)).flatten(0, 1)
    return join_windows(windows, height, width, (height // grid, width // grid))
