"""Statistics of the router: how evenly experts are used, and how often the last token's are used again."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tests.demo_model.documents import Rows
from tests.demo_model.model import DemoModel, positions_of


@dataclass(frozen=True, slots=True)
class RouterStatistics:
    """Per layer: the share of tokens that reaches each expert, and the share of its choices that the token
    before had made too."""

    shares: tuple[tuple[float, ...], ...]
    reuse: tuple[float, ...]

    def table(self) -> str:
        lines = []
        for layer, (shares, reuse) in enumerate(zip(self.shares, self.reuse, strict=True)):
            lines.append(
                f"layer {layer}: experts get {min(shares):.1%} to {max(shares):.1%} of tokens, reuse {reuse:.1%}"
            )
        return "\n".join(lines)


def _reused(chosen: Tensor, document: Tensor) -> tuple[int, int]:
    """How many choices were the previous token's too, and of how many."""
    same = (chosen[:, 1:, :, None] == chosen[:, :-1, None, :]).any(-1)
    follows = (document[:, 1:] == document[:, :-1]) & (document[:, 1:] > 0)
    return int((same & follows[..., None]).sum()), int(follows.sum()) * chosen.shape[-1]


@torch.no_grad()
def router_statistics(model: DemoModel, blocks: Sequence[Rows], device: torch.device) -> RouterStatistics:
    """Over all tokens of the blocks."""
    layers = model.shape.layers
    shares = torch.zeros(layers, model.shape.experts)
    reused = [[0, 0] for _ in range(layers)]
    for block in blocks:
        tokens = torch.from_numpy(block.tokens).long().to(device)
        document = torch.from_numpy(block.document).long().to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            _, routings = model(tokens, document, positions_of(document), torch.zeros((), device=device))
        for layer, routing in enumerate(routings):
            shares[layer] += routing.share.float().cpu() / len(blocks)
            same, of = _reused(routing.chosen, document)
            reused[layer][0] += same
            reused[layer][1] += of
    return RouterStatistics(tuple(tuple(row) for row in shares.tolist()), tuple(same / of for same, of in reused))
