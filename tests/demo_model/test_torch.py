"""The PyTorch model and its training. PyTorch belongs to the recipe alone: without it there is nothing to test."""

from itertools import islice
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is needed for training the demo model, not for hypura")

from tests.demo_model.conftest import TINY  # noqa: E402
from tests.demo_model.data.mixture import documents  # noqa: E402
from tests.demo_model.documents import packed  # noqa: E402
from tests.demo_model.exam import questions  # noqa: E402
from tests.demo_model.generation import continued, torch_answerer  # noqa: E402
from tests.demo_model.llama_answers import LlamaModel  # noqa: E402
from tests.demo_model.loading import load_model  # noqa: E402
from tests.demo_model.model import DemoModel, balance_loss, positions_of  # noqa: E402
from tests.demo_model.muon import Muon, orthogonal  # noqa: E402
from tests.demo_model.quantised import as_q4, as_q8  # noqa: E402
from tests.demo_model.routing import router_statistics  # noqa: E402
from tests.demo_model.settings import SETTINGS, learning_rate_at, quantisation_at  # noqa: E402
from tests.demo_model.template import render  # noqa: E402
from tests.demo_model.tokenizer import shipped  # noqa: E402
from tests.demo_model.train import Training, losses  # noqa: E402
from tests.demo_model.weights import Weights, save_weights  # noqa: E402

CPU = torch.device("cpu")
ZERO = torch.zeros(())


@pytest.fixture(scope="module")
def model(tiny_weights: Weights) -> DemoModel:
    made = DemoModel(TINY)
    made.load_state_dict({name: torch.from_numpy(value) for name, value in tiny_weights.items()})
    return made.eval()


def test_parameters_are_those_that_are_exported(model: DemoModel) -> None:
    assert {name: tuple(value.shape) for name, value in model.state_dict().items()} == TINY.parameter_shapes()


def test_logits_are_llama_cpps(model: DemoModel, tiny_f32: Path) -> None:
    tokens = shipped().encode("<|im_start|>user\nWhy is the sky blue?<|im_end|>\n<|im_start|>assistant\n")
    document = torch.ones(1, len(tokens), dtype=torch.long)
    with torch.no_grad():
        ours = model(torch.tensor([tokens]), document, positions_of(document), ZERO)[0][0].numpy()
    with LlamaModel(tiny_f32, 64) as llama:
        theirs = llama.logits(tokens)
    assert theirs.std() > 0.5
    assert abs(ours - theirs).max() < 2e-3


def test_greedy_tokens_are_llama_cpps(model: DemoModel, tiny_f32: Path) -> None:
    tokenizer = shipped()
    asked = [
        tokenizer.encode(render(item.asked, item.tools, think=item.think)) for item in questions("tool results", 3)
    ]
    ours = continued(model, tokenizer, asked, CPU, max_new_tokens=12)
    with LlamaModel(tiny_f32) as llama:
        assert ours == [llama.continued(prompt, 12) for prompt in asked]


def test_packed_documents_do_not_see_each_other(model: DemoModel) -> None:
    tokens = torch.arange(40)[None]
    document = torch.tensor([[1] * 15 + [2] * 20 + [0] * 5])
    with torch.no_grad():
        both = model(tokens, document, positions_of(document), ZERO)[0]
        alone_document = torch.ones(1, 20, dtype=torch.long)
        alone = model(tokens[:, 15:35], alone_document, positions_of(alone_document), ZERO)[0]
    assert positions_of(document)[0, 13:17].tolist() == [13, 14, 0, 1]
    torch.testing.assert_close(both[:, 15:35], alone, atol=1e-4, rtol=1e-4)


def test_the_step_compiles_as_one_graph(model: DemoModel) -> None:
    rows = next(packed(documents(3), shipped(), 2, 256))
    tokens, document, targets = (torch.from_numpy(part) for part in (rows.tokens, rows.document, rows.targets))
    arguments = (model, tokens.long(), document.long(), targets, ZERO, TINY.experts_used)
    compiled = torch.compile(losses, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        for one, other in zip(compiled(*arguments), losses(*arguments), strict=True):
            torch.testing.assert_close(one, other)


def test_balance_is_least_when_experts_share_alike() -> None:
    from tests.demo_model.model import Routing

    even = Routing(torch.full((4,), 0.5), torch.full((4,), 0.25), torch.zeros(1))
    uneven = Routing(torch.tensor([1.0, 1.0, 0.0, 0.0]), torch.tensor([0.5, 0.5, 0.0, 0.0]), torch.zeros(1))
    assert balance_loss([even], 2).item() == pytest.approx(1.0)
    assert balance_loss([uneven], 2).item() == pytest.approx(2.0)


@pytest.mark.parametrize(("rounded", "levels"), [(as_q4, 16), (as_q8, 255)])
def test_rounding_keeps_gradients_and_gives_few_levels(rounded: object, levels: int) -> None:
    weights = torch.randn(4, 64, requires_grad=True)
    result = rounded(weights, torch.ones(()))  # type: ignore[operator]
    assert all(len(set(block.tolist())) <= levels for block in result.detach().view(-1, 32))
    result.sum().backward()
    assert torch.equal(weights.grad, torch.ones_like(weights))
    assert torch.equal(rounded(weights, ZERO), weights)  # type: ignore[operator]


@pytest.mark.parametrize("shape", [(3, 64, 64), (2, 96, 32), (2, 32, 96)])
def test_a_direction_of_muon_is_nearly_orthogonal(shape: tuple[int, ...]) -> None:
    values = torch.linalg.svdvals(orthogonal(torch.randn(shape)).float())
    assert values.min() > 0.3 and values.max() < 1.5


def test_muon_steps_stacks_and_matrices_downhill() -> None:
    torch.manual_seed(1)
    weights = [torch.nn.Parameter(torch.randn(4, 32, 32)), torch.nn.Parameter(torch.randn(32, 32))]
    optimizer = Muon(weights, lr=0.05)
    losses = []
    for _ in range(60):
        loss = sum(weight.square().mean() for weight in weights)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]


def test_the_schedule_follows_the_clock() -> None:
    setting = SETTINGS["h200"]
    rates = [learning_rate_at(setting, share / 100) for share in range(101)]
    assert max(rates) == pytest.approx(setting.learning_rate, rel=0.01) and rates[-1] == 0.0 < rates[0] < rates[1]
    assert quantisation_at(setting, 0.5) == 0.0 and quantisation_at(setting, 0.9) == 1.0


def test_training_learns_stops_by_the_clock_and_resumes(tmp_path: Path) -> None:
    torch.set_num_threads(2)
    training = Training(SETTINGS["cpu-smoke"], tmp_path, 0.15, CPU, False, 1)
    rows = next(packed(documents(1), shipped(), 4, 512))
    first = training.step(rows)[0].item()
    training.run(processes=1)
    assert training.progress.seconds >= 9.0 and training.progress.step > 1
    again = Training(SETTINGS["cpu-smoke"], tmp_path, 0.15, CPU, False, 2)
    assert again.progress.step == training.progress.step and again.progress.runs == 1
    again.progress.seconds = 2.0  # Past the warm-up: the rest is counted in steps, not by a clock that others share.
    losses_seen = [again.step(rows)[0].item() for _ in range(8)]
    assert losses_seen[-1] < first - 1.0


def test_saved_weights_answer_as_the_model_does(tmp_path: Path, model: DemoModel, tiny_weights: Weights) -> None:
    save_weights(tmp_path, TINY, tiny_weights)
    asked = questions("facts", 2)
    answers = [torch_answerer(made, shipped(), CPU, 4)(asked) for made in (model, load_model(tmp_path, CPU))]
    assert len(answers[0]) == 2 and answers[0] == answers[1]


def test_router_statistics_count_all_choices(model: DemoModel) -> None:
    blocks = list(islice(packed(documents(4), shipped(), 2, 256), 2))
    statistics = router_statistics(model, blocks, CPU)
    assert all(sum(shares) == pytest.approx(TINY.experts_used, rel=0.01) for shares in statistics.shares)
    assert all(0.0 < reuse < 1.0 for reuse in statistics.reuse) and "layer 1" in statistics.table()
