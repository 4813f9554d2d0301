"""Models of tables: one likelihood a column, holes, and what any embedding promises."""

from __future__ import annotations

import functools
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler
from torch import nn

from isthmus.errors import IsthmusWarning, SettingError
from isthmus.evaluate import compare, evaluate
from isthmus.formats import TableFormat, tables
from isthmus.formats.base import Column
from isthmus.likelihoods import Table, likelihood_from_json
from isthmus.models import PCA, VAE, Autoencoder, load
from isthmus.networks.table import hidden
from isthmus.verbs.impute import impute

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("datasketches")

from pandas.testing import assert_frame_equal  # noqa: E402

QUICK = {"epochs": 30, "batch_size": 32, "size": "small", "device": "cpu"}
MODELS = {"pca": (PCA, {}), "autoencoder": (Autoencoder, QUICK), "vae": (VAE, QUICK)}
STRUCTURED = ("tiny", "huge", "bent", "count", "sign", "third", "day")


@functools.cache
def structured(holes: float = 0.0, n: int = 500) -> Any:
    """Columns of very different scale and kind that two hidden numbers decide. Do not change it: it is shared."""
    r = np.random.default_rng(1)
    h, noise = r.standard_normal((n, 2)), 0.1 * r.standard_normal((n, 4))
    frame = pd.DataFrame({
        "tiny": 1e-9 * (h[:, 0] + noise[:, 0]),
        "huge": 1e12 * (h[:, 1] + noise[:, 1]),
        "bent": np.exp(2 * (h[:, 0] - h[:, 1] + noise[:, 2])),
        "count": np.rint(50 + 10 * (h[:, 0] + h[:, 1])).astype(int),
        "sign": np.where(h[:, 0] > 0, "plus", "minus"),
        "third": pd.Categorical(np.digitize(h[:, 1], [-0.5, 0.5])),
        "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(np.rint(300 * (h[:, 0] + noise[:, 3])), "D"),
        "key": [f"k{i}" for i in r.permutation(n)],
    })  # fmt: skip
    if holes:
        at = r.random((n, 7)) < holes
        at[np.arange(n), r.integers(0, 7, n)] = True  # one in every row at least
        frame = frame.astype({"count": "Int64"})
        for place, name in enumerate(STRUCTURED):
            frame[name] = frame[name].mask(at[:, place])
    return frame


@functools.cache
def fitted(word: str, holes: float = 0.0, **settings: Any) -> Any:
    kind, given = MODELS[word]
    return kind(settings.pop("latent_dim", 2), **given | settings).fit(structured(holes))


@pytest.fixture(params=MODELS)
def word(request: pytest.FixtureRequest) -> str:
    return request.param


# ---- the likelihood ------------------------------------------------------------------------------------------------


@functools.cache
def likelihood(variance: str = "unit") -> Table:
    """Two numbers, a choice of 3, one of 2, one of 5; the last two belong to one column."""
    return Table([0, 3, 0, 2, 5], [0, 1, 2, 3, 3], [0.5, 1.0, 0.5, 0.7, 1.5], variance)


def params_and_items(rows: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    x = torch.stack([torch.randn(rows, generator=g), torch.arange(rows) % 3.0, torch.randn(rows, generator=g),
                     torch.arange(rows) % 2.0, torch.arange(rows) % 5.0], 1)  # fmt: skip
    return torch.randn(rows, 1, likelihood().size, generator=g), x


def test_nll_is_that_of_scipy() -> None:
    made = Table.of([Column("a", "continuous"), Column("b", "category", 3), Column("c", "integer")], "learned")
    with torch.no_grad():
        made.log_variance.copy_(torch.tensor([0.4, -1.1]))
    params, x = params_and_items()
    params, x = params[:, :, :6], x[:, :3]
    nll = made.nll(params, x).detach().numpy()
    means, deviations = params[:, 0, :2].numpy(), made.variances().detach().sqrt().numpy()
    for place, element in enumerate((0, 2)):
        wanted = -scipy.stats.norm(means[:, place], deviations[place]).logpdf(x[:, element].numpy())
        assert_allclose(nll[:, element], wanted, rtol=1e-5)
    chances = scipy.special.softmax(params[:, 0, 2:5].double().numpy(), axis=1)
    assert_allclose(nll[:, 1], -np.log(chances[np.arange(6), x[:, 1].int()]), rtol=1e-5)
    cdf = made.cdf(params, x).detach().numpy()
    assert_allclose(cdf[:, 0], scipy.stats.norm(means[:, 0], deviations[0]).cdf(x[:, 0].numpy()), rtol=1e-5)
    assert_allclose(cdf[:, 1], [chances[i, : int(c) + 1].sum() for i, c in enumerate(x[:, 1])], rtol=1e-5)
    assert_allclose(made.loss(params, x).detach(), nll.sum(1), rtol=1e-5)


@pytest.mark.parametrize("variance", ["unit", "learned"])
def test_a_hole_costs_nothing_and_teaches_nothing(variance: str) -> None:
    made = likelihood(variance)
    params, x = params_and_items()
    whole = made.nll(params, x).detach()
    x[1, 0] = x[2, 1] = x[3] = torch.nan
    params.requires_grad_(True)
    nll = made.nll(params, x)
    assert_array_equal(nll.detach()[x.isnan()], 0)
    assert_array_equal(nll.detach()[~x.isnan()], whole[~x.isnan()])
    made.loss(params, x).sum().backward()
    assert torch.isfinite(params.grad).all()
    assert_array_equal(params.grad[3], 0)
    assert params.grad[1, 0, 0] == 0
    assert float(made.loss(params, x).detach()[3]) == 0
    assert made.cdf(params.detach(), x).isnan().equal(x.isnan())


def test_guessing_a_column_costs_its_weight_whatever_its_kind(mixed: Any) -> None:
    made = TableFormat()
    stored = made.fit_tensor(mixed(1000))
    chosen = made.likelihood()
    params = torch.zeros(1, 1, chosen.size)
    for group, (width, elements) in enumerate(chosen.groups):
        start = len(chosen.numbers) + sum(w * len(e) for w, e in chosen.groups[:group])
        for place, element in enumerate(elements):
            share = torch.tensor(made.spec.columns[element].shares)
            params[0, 0, start + place * width : start + place * width + len(share)] = share.log()
    costs = chosen._costs(params.expand(len(stored), -1, -1), made.scale(stored), 0.0) * chosen._weights
    for number, code in enumerate(code for code in made.codes_ if code.elements):
        cost = float(costs[:, chosen.columns == number].sum(1).mean()) / (1 - code.missing)
        shares = [np.array(column.shares) for column in code.elements if column.levels]
        numbers = len(shares) < len(code.elements)
        weight = 1.0 if numbers else max(np.mean([1 - np.square(share).sum() for share in shares]), 0.1)
        assert chosen.weights[number] == pytest.approx(weight)
        assert (0.1 if code.kind == "text" else 0.85 * weight) < cost < 1.15 * weight, (code.name, cost)


def test_a_number_beside_a_value_of_its_own_weighs_as_much_as_any_other() -> None:
    random = np.random.default_rng(0)
    gain = np.where(random.random(4000) < 0.9, 0.0, random.lognormal(8, 1, 4000))
    made = TableFormat()
    stored = made.fit_tensor(pd.DataFrame({"gain": gain, "age": random.normal(40, 12, 4000)}))
    chosen, (number, choice, _) = made.likelihood(), made.spec.columns
    assert isinstance(chosen, Table)
    assert [column.levels for column in made.spec.columns] == [None, 2, None]
    params = torch.zeros(1, 1, chosen.size)
    params[0, 0, 0] = choice.shares[1] * number.spike  # the mean of all rows: that of the others is 0
    params[0, 0, 2:] = torch.tensor(choice.shares).log()
    loss = chosen.loss(params.expand(len(stored), -1, -1), made.scale(stored))
    assert float(loss.mean()) == pytest.approx(1 + Table.BESIDE * choice.nats + 1, rel=0.05)


def test_a_frequent_value_counts_as_a_number_where_the_encoder_was_shown_it() -> None:
    parts = Column("gain", "integer", None, (), 0.3, (), -2.0), Column("gain", "integer", 2, (), 0.5, (0.2, 0.8))
    made = Table.of(parts)
    x = torch.tensor([[torch.nan, 1.0], [torch.nan, 1.0], [0.5, 0.0], [torch.nan, torch.nan]])
    seen = x.clone()
    seen[1] = torch.nan
    params = torch.zeros(4, 1, 3, requires_grad=True)
    loss = made.training_loss(params, x, seen)
    loss.sum().backward()
    asked = params.grad[:, 0, 0]
    assert_allclose(asked, [2 / 0.3, 0.0, -0.5 / 0.3, 0.0], rtol=1e-6)
    assert_allclose(loss.detach(), [0.5 * 4 / 0.3 + 0.3 * math.log(2), 0.3 * math.log(2),
                                    0.5 * 0.25 / 0.3 + 0.3 * math.log(2), 0.0], rtol=1e-5)  # fmt: skip
    assert_allclose(made.nll(params, x).detach()[:, 0], [0.0, 0.0, 0.5 * 0.25 + 0.5 * math.log(2 * math.pi), 0.0])
    saved = made.to_json()
    assert saved["spikes"] == [-2.0, None]
    assert_array_equal(likelihood_from_json(saved).training_loss(params, x, seen).detach(), loss.detach())
    del saved["spikes"]
    assert "spikes" not in likelihood_from_json(saved).to_json()
    with pytest.raises(SettingError, match="spikes of a table need one entry an element, null but for numbers before"):
        Table([2, 0], [0, 0], [0.5, 0.5], "unit", None, [None, 1.0])


def test_a_flag_weighs_as_much_as_it_varies_and_old_files_weigh_alike() -> None:
    even = Column("even", "boolean", 2, (), 0.7, (0.5, 0.5))
    rare = Column("rare", "boolean", 2, (), 0.1, (0.99, 0.01))
    spike = Column("spike", "integer", None, (), 0.1), Column("spike", "integer", 2, (), 0.5, (0.2, 0.8))
    made = Table.of([even, rare, *spike])
    assert made.weights == [0.5, 0.1, 1.0]
    saved = made.to_json()
    assert likelihood_from_json(saved).to_json() == saved
    del saved["weights"]
    old = likelihood_from_json(saved)
    assert isinstance(old, Table)
    assert old.weights == [1.0, 1.0, 1.0]
    assert old.to_json() == saved
    with pytest.raises(SettingError, match="weights of a table need one entry a column, above 0"):
        Table([0, 2], [0, 1], [0.5, 0.6], "unit", [1.0])


def test_what_was_hidden_teaches_no_deviation() -> None:
    made, (params, x) = likelihood("learned"), params_and_items()
    seen = x.clone()
    seen[:, 0] = seen[0, 1] = seen[1, 2] = torch.nan
    with torch.no_grad():
        made.log_variance.fill_(-2.0)
    (slope,) = torch.autograd.grad(made.training_loss(params, x, seen).sum(), made.log_variance)
    assert slope[0] == 0
    assert slope[1] != 0
    shown, unit = made.loss(params, x).detach(), made._costs(params, x, math.log(2 * math.pi)).detach()
    assert_allclose(made.training_loss(params, x, x).detach(), shown, rtol=1e-6)
    apart = 0.5 * (x[:, 0] - params[:, 0, 0]).square() + 0.5 * math.log(2 * math.pi)  # of deviation one
    apart_1 = 0.5 * (x[1, 2] - params[1, 0, 1]).square() + 0.5 * math.log(2 * math.pi)
    wanted = shown - unit[:, 0] + apart
    wanted[1] += apart_1 - unit[1, 2]
    assert_allclose(made.training_loss(params, x, seen).detach(), wanted, rtol=1e-4)
    with torch.no_grad():
        made.log_variance.zero_()
    assert likelihood().training_loss(params, x, seen).equal(likelihood().loss(params, x))


def test_draws_of_a_code_and_what_they_leave_over_make_up_the_doubt() -> None:
    """Of a cell that the encoder did not see: the spread of drawn codes and the noise about them together."""
    model, frame = fitted("vae"), structured()
    learned, hidden_cells = model.likelihood_, model.likelihood_.of_hidden()
    assert (learned.noise <= learned.doubt).all()
    assert (learned.noise[:5] < 0.9 * learned.doubt[:5]).any()
    assert_array_equal(hidden_cells.variances(), learned.noise)
    assert_array_equal(fitted("autoencoder").likelihood_.noise, fitted("autoencoder").likelihood_.doubt)
    holes = frame[["key", *STRUCTURED]].copy()
    holes["huge"] = np.nan
    drawn = impute(model, holes, "draw")["huge"]
    told, doubt = impute(model, holes, "mean", uncertainty=True)
    assert 0.6 < (drawn - told["huge"]).std() / doubt[:, list(holes).index("huge")].mean() < 1.5


def test_a_vae_of_a_table_learns_how_finely_it_tells_whole_rows() -> None:
    """Rows that were shown with holes must not hold the deviations up: a blurred likelihood asks for no fine code."""
    r = np.random.default_rng(0)
    hidden_two, mixing = r.standard_normal((600, 2)), r.standard_normal((2, 6))
    frame = pd.DataFrame(hidden_two @ mixing + 0.1 * r.standard_normal((600, 6)), columns=list("abcdef"))
    model = VAE(2, format="table", network="linear", rate=0.02, epochs=60, batch_size=32, device="cpu").fit(frame)
    deviations = model.likelihood_.variances().sqrt().detach().numpy()
    assert deviations.mean() < 0.3  # 0.38 where hidden cells teach them
    assert model.score(frame) > -3  # and -3.8
    assert deviations.mean() < 0.8 * model.likelihood_.doubt.sqrt().mean(), "a hidden cell is less sure than a told one"


def test_draws_are_distributed_as_they_should_be() -> None:
    made = likelihood("learned")
    params, _ = params_and_items(1)
    drawn = made.sample(params.expand(20_000, -1, -1), torch.Generator().manual_seed(0)).detach()
    chances = made.chances(params)
    for element, count in ((1, 3), (3, 2), (4, 5)):
        seen = torch.bincount(drawn[:, element].int(), minlength=count) / 20_000
        assert_allclose(seen, chances[element][0].detach(), atol=0.015)
    assert_allclose(drawn[:, [0, 2]].mean(0), params[0, 0, :2], atol=0.03)
    assert_allclose(drawn[:, [0, 2]].var(0), made.variances().detach(), rtol=0.05)
    assert_array_equal(made.mean(params)[0, [1, 3, 4]], [int(chances[e][0].argmax()) for e in (1, 3, 4)])


def test_a_table_likelihood_and_its_file() -> None:
    saved = likelihood("learned").to_json()
    assert likelihood_from_json(saved).to_json() == saved
    with pytest.raises(SettingError, match='variance=\'free\': a table takes "unit" or "learned"'):
        Table([0], [0], [0.5], "free")
    with pytest.raises(SettingError, match="one entry an element, nats above 0"):
        Table([0], [0], [0.0])
    params, x = params_and_items()
    with pytest.raises(SettingError, match=r"parameters of shape \(6, 1, 3\), but this table needs"):
        likelihood().nll(params[:, :, :3], x)


def test_whole_columns_are_hidden_in_half_of_the_rows() -> None:
    owner = torch.tensor([0, 1, 1, 2, 3, 4])
    x = torch.zeros(4000, 6)
    seen = hidden(x, owner, int(owner.max()) + 1, torch.Generator().manual_seed(0)).isnan()
    assert_array_equal(seen[:, 1], seen[:, 2])
    share = float((~seen.any(1)).float().mean())
    assert 0.5 < share < 0.7
    assert (
        abs(
            float(hidden(x, owner, int(owner.max()) + 1, torch.Generator().manual_seed(0), 0.3).isnan().float().mean())
            - 0.3
        )
        < 0.02
    )


# ---- learning ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("holes", [0.0, 0.2])
def test_what_is_trained_beats_the_mean_and_the_untrained_in_every_column(word: str, holes: float) -> None:
    model = fitted(word, holes)
    report = evaluate(model, structured(holes))
    error = {row["model"].split("(")[0]: row["squared_error"] for row in report.rows}
    own = error[type(model).__name__]
    assert own < 0.6 * error["the mean"]
    assert own < 0.6 * error["untrained"]
    for column in report.columns:
        assert column["error"] < 0.95 * column["guess"], column
    names = [column["column"] for column in report.columns]
    assert names == list(STRUCTURED)
    assert "guessing" in str(report)
    assert report.to_json()["columns"][0]["kind"] == "continuous"


def test_a_column_without_values_among_the_items_is_told_as_such() -> None:
    report = evaluate(fitted("pca", 0.2), structured(0.2).assign(third=None))
    said = next(line for line in str(report).splitlines() if line.startswith("third"))
    assert said.split() == ["third", "category", "-", "-", "no", "values"]
    row = next(row for row in report.to_json()["columns"] if row["column"] == "third")
    assert row["error"] is None
    assert row["unit"] == "no values"


@pytest.mark.parametrize("word", ["autoencoder", "pca"])
def test_no_column_drowns_the_others(word: str) -> None:
    """The same column in units a billion billion billion times as large is learned as well."""
    frame = structured()
    scaled = frame.assign(tiny=frame["tiny"] * 1e27)
    kind, given = MODELS[word]
    one = evaluate(fitted(word), frame).columns
    other = evaluate(kind(2, **given).fit(scaled), scaled).columns
    for a, b in zip(one, other, strict=True):
        assert_allclose(a["error"] / a["guess"], b["error"] / b["guess"], atol=0.05)


def test_codes_are_those_of_scikit_learn_promises(word: str, tmp_path: Path) -> None:
    """The same bits alone, in any batch, in any order, and after saving."""
    model, frame = fitted(word, 0.2), structured(0.2)
    codes = model.encode(frame)
    assert codes.shape == (500, 2)
    assert codes.dtype == np.float32
    assert np.isfinite(codes).all()
    assert_array_equal(model.encode(frame[7:8]), codes[7:8])
    order = np.random.default_rng(0).permutation(500)
    assert_array_equal(model.encode(frame.iloc[order]), codes[order])
    assert_array_equal(np.concatenate([model.encode(frame[:13]), model.encode(frame[13:])]), codes)
    again = load(model.save(tmp_path / "m.isthmus"))
    assert_array_equal(again.encode(frame), codes)
    assert_frame_equal(again.decode(codes), model.decode(codes))
    assert_frame_equal(again.sample(5, seed=3), model.sample(5, seed=3))
    assert_allclose(again.score_samples(frame), model.score_samples(frame))
    assert again.n_features_in_ == 8


def test_the_users_own_frame_comes_back(word: str) -> None:
    frame, model = structured(0.2), fitted(word, 0.2)
    back = model.reconstruct(frame)
    assert back.dtypes.equals(frame.dtypes)
    assert list(back) == list(frame)
    assert_array_equal(back["key"], frame["key"], err_msg="identifiers are put back")
    assert not back[list(STRUCTURED)].isna().any(axis=None)
    drawn = model.sample(40, seed=1)
    assert drawn.dtypes.equals(frame.dtypes)
    assert drawn["key"].isna().all()
    assert list(model.get_feature_names_out()) == [f"{word}0", f"{word}1"]


def test_fit_forgets(word: str) -> None:
    kind, given = MODELS[word]
    model = kind(2, **given | ({"epochs": 1} if given else {}))
    first = model.fit(structured()).encode(structured())
    model.fit(structured()[["tiny", "sign"]].iloc[:100])
    assert model.n_features_in_ == 2
    assert_array_equal(model.fit(structured()).encode(structured()), first)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_few_rows(word: str, rows: int) -> None:
    kind, given = MODELS[word]
    frame = structured()[:rows]
    model = kind(1, **given).fit(frame)
    assert model.encode(frame).shape == (rows, 1)
    assert np.isfinite(model.score(frame))
    assert list(model.reconstruct(frame)) == list(frame)


def test_ordered_codes_can_be_cut() -> None:
    model, frame = fitted("autoencoder", latent_dim=4, ordered=True), structured()
    curve = model.error_curve(frame)
    assert curve[1] < 0.7 * curve[0]
    assert curve[3] <= curve[1] * 1.05
    shorter = model.truncate(2)
    assert_array_equal(shorter.encode(frame), model.encode(frame)[:, :2])
    assert_frame_equal(
        shorter.decode(shorter.encode(frame)), shorter.reconstruct(frame).assign(key=None).astype(frame.dtypes)
    )


@pytest.mark.parametrize("word_", ["autoencoder", "pca"])
def test_auto_finds_few_latents_where_two_decide(word_: str) -> None:
    model = fitted(word_, latent_dim="auto")
    assert 2 <= model.latent_dim_ <= (5 if word_ == "autoencoder" else 8)
    assert model.encode(structured()).shape == (500, model.latent_dim_)


def test_a_vae_of_a_table_knows_what_is_likely() -> None:
    model, frame = fitted("vae"), structured()
    odd = frame.assign(sign=np.where(frame["sign"] == "plus", "minus", "plus"))
    assert model.score(odd) < model.score(frame) - 0.5
    mean, deviation = model.encode_distribution(frame)
    assert_array_equal(mean, model.encode(frame))
    assert (deviation > 0).all()
    elbo = model.elbo(frame)
    assert_allclose(-elbo.total, model.score_samples(frame), rtol=1e-5)
    assert model.log_likelihood(frame[:100], samples=50).mean() > -elbo.total[:100].mean()


def test_what_does_not_go_with_tables_is_refused() -> None:
    frame = structured()
    for settings, says in (
        ({"corruption": "gaussian"}, "tables of columns take corruption='masking'"),
        ({"contraction": 0.1}, "neither noise nor contraction="),
        ({"network": (8, 8)}, "tables take 'auto', 'linear', or a pair"),
        ({"likelihood": "gaussian"}, "which has a likelihood for each column: leave it None"),
        ({"format": TableFormat(view="linear")}, r"view='linear'\) is for PCA"),
    ):
        with pytest.raises(SettingError, match=says):
            Autoencoder(2, **QUICK | settings).fit(frame)
    with pytest.raises(SettingError, match="latent_dim=99 is above what is possible"):
        PCA(99).fit(frame)


@pytest.mark.parametrize(
    "settings", [{"network": "linear"}, {"corruption": ("masking", 0.4)}, {"sparsity": ("topk", 1)}]
)
def test_what_goes_with_tables(settings: dict[str, Any]) -> None:
    model = Autoencoder(3, **QUICK | {"epochs": 10} | settings).fit(structured(0.2))
    report = evaluate(model, structured(0.2))
    assert report.rows[0]["explained"] > 0.2


class Own(nn.Module):
    """A user's module, which has to think of holes itself."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.line = nn.Linear(inputs, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.line(torch.nan_to_num(x))
        return out.unsqueeze(1) if self.line.in_features == 2 else out


def test_modules_of_the_users_own() -> None:
    form = TableFormat().fit(structured(0.2))
    pair = Own(form.spec.size, 2), Own(2, form.likelihood().size)
    model = Autoencoder(2, network=pair, epochs=5, batch_size=32).fit(structured(0.2))
    assert np.isfinite(model.encode(structured(0.2))).all()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("way", ["encode", "reconstruct", "to_tensor", "impute"])
def test_warnings_point_at_the_users_line(way: str, threads: int) -> None:
    frame = structured()
    model = PCA(2, format=TableFormat({"count": "category"})).fit(frame)
    frame = pd.concat([frame.assign(count=99)] * 2)
    ways = {
        "encode": model.encode,
        "reconstruct": model.reconstruct,
        "to_tensor": model.format_.to_tensor,
        "impute": lambda given: impute(model, given),
    }
    given = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with pytest.warns(IsthmusWarning, match="never seen in learning") as told:
            ways[way](frame)
    finally:
        torch.set_num_threads(given)
    line = sys._getframe().f_lineno
    assert {one.filename for one in told} == {__file__}
    assert all(0 < line - one.lineno < 20 for one in told)


def test_scikit_learns_tools_take_tables() -> None:
    frame = structured()
    search = GridSearchCV(PCA(format=TableFormat({"count": "category"})), {"latent_dim": [1, 4]}, cv=2)
    with pytest.warns(IsthmusWarning, match="never seen in learning") as told:
        search.fit(frame)
    assert {one.filename for one in told} == {__file__}, "the user's line, and not scikit-learn's or ours"
    assert search.best_params_ == {"latent_dim": 4}
    assert search.best_estimator_.format_.codes_[3].kind == "category"
    given = TableFormat({"count": "ordinal"})
    assert clone(VAE(format=given)).format.kinds == {"count": "ordinal"}
    PCA(2, format=given).fit(frame)
    assert not hasattr(given, "codes_"), "a setting is not fitted"


def test_the_frame_that_was_learned_is_recognised() -> None:
    model = fitted("autoencoder")
    assert "the 50 of 500 items that training held out" in evaluate(model, structured().copy()).protocol
    assert "100 items given as held out" in evaluate(model, structured()[:100]).protocol
    told = str(compare([model, fitted("pca")], structured()))
    assert "Autoencoder(2)" in told
    assert "PCA(2)" in told


def test_a_table_in_a_file_is_learned_as_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    frame = structured(0.2)
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path))
    frame.to_parquet(tmp_path / "t.parquet")
    here = Autoencoder(2, **QUICK).fit(tmp_path / "t.parquet")
    exact = PCA(2).fit(tmp_path / "t.parquet")
    monkeypatch.setattr(tables, "fits_in_memory", lambda size: False)
    there = Autoencoder(2, **QUICK).fit(tmp_path / "t.parquet")
    assert there.history_["data"] == here.history_["data"]
    errors = [evaluate(model, frame).rows[0]["squared_error"] for model in (here, there)]
    assert_allclose(errors[0], errors[1], rtol=0.3)  # batches come in another order
    assert_array_equal(PCA(2).fit(tmp_path / "t.parquet").encode(frame), exact.encode(frame))


# ---- PCA -----------------------------------------------------------------------------------------------------------


def numbers(n: int = 300) -> np.ndarray:
    r = np.random.default_rng(0)
    return (
        r.standard_normal((n, 2)) @ r.standard_normal((2, 6)) + 0.3 * r.standard_normal((n, 6))
    ) * 10.0 ** np.arange(6)


def test_pca_of_numbers_is_scikit_learns_of_standardised_ones() -> None:
    sklearn = pytest.importorskip("sklearn.decomposition")
    x = numbers()
    reference = sklearn.PCA(3).fit(StandardScaler().fit_transform(x))
    model = PCA(3, format="table").fit(pd.DataFrame(x).rename(columns=str))
    assert_allclose(model.explained_variance_ratio_, reference.explained_variance_ratio_, rtol=1e-4)
    codes = reference.transform(StandardScaler().fit_transform(x))
    assert_allclose(np.abs(model.encode(pd.DataFrame(x).rename(columns=str))), np.abs(codes), atol=1e-3)


def test_pca_with_holes_is_the_posterior_of_what_is_there() -> None:
    x = numbers()
    whole = pd.DataFrame(x).rename(columns=str)
    model = PCA(2, format="table").fit(whole)
    holes = whole.mask(np.random.default_rng(1).random(x.shape) < 0.2)
    z = (x - x.mean(0)) / x.std(0)
    noise, variances, lines = model.noise_variance_, model.explained_variance_, model.components_
    covariance = (lines.T * (variances - noise)) @ lines + noise * np.eye(6)
    wanted = []
    for row, there in zip(z, holes.notna().to_numpy(), strict=True):
        wanted.append(scipy.stats.multivariate_normal(np.zeros(there.sum()), covariance[np.ix_(there, there)])
                      .logpdf(row[there]) if there.any() else 0.0)  # fmt: skip
    assert_allclose(model.score_samples(holes), wanted, rtol=1e-3, atol=1e-3)
    apart = np.abs(model.encode(holes) - model.encode(whole)).mean()
    assert apart < 0.3 * np.abs(model.encode(whole)).mean()


def test_pca_in_pieces_is_pca_of_all() -> None:
    frame = structured()[["tiny", "huge", "third", "sign"]]
    first = frame.iloc[np.r_[0:250, 0:250]].reset_index(drop=True)
    model = PCA(2).partial_fit(first[:250]).partial_fit(first[250:])
    assert_allclose(model.explained_variance_, PCA(2).fit(first).explained_variance_, rtol=1e-4)
    assert model.n_samples_ == 500


def test_pca_of_text_alone() -> None:
    frame = pd.DataFrame({"t": [f"{a} likes {b}" for a in ("Ann", "Bob", "Eve") for b in range(10)]})
    model = PCA(3).fit(frame)
    assert model.reconstruct(frame)["t"].str[:3].eq(frame["t"].str[:3]).mean() > 0.9
    assert math.isfinite(model.score(frame))


@pytest.mark.parametrize("model", [PCA(3), Autoencoder(4, epochs=40, random_state=0)])
def test_a_line_in_a_column_with_a_frequent_value_is_one_in_the_codes(model: Any) -> None:
    random = np.random.default_rng(0)
    hours = np.where(random.random(800) < 0.45, 40.0, random.uniform(15, 65, 800).round())
    frame = pd.DataFrame({"hours": hours, "age": random.integers(18, 90, 800), "height": random.normal(170, 9, 800),
                          "sex": random.choice(["m", "f"], 800)})  # fmt: skip
    codes = np.c_[model.fit(frame).encode(frame), np.ones(800)]
    assert "40 in 4" in model.format_.describe()[0]["holds"]
    left = hours - codes @ np.linalg.lstsq(codes, hours, rcond=None)[0]
    assert left.var() < 0.15 * hours.var()
    again = model.decode(model.encode(frame)).hours
    assert np.abs(again - hours).mean() < 3


def test_pca_takes_the_view_that_it_is_given() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, None, 4.0] * 10, "b": ["x", "y", "y", None] * 10})
    assert PCA(1).fit(frame).format_.view == "weighed"
    assert PCA(1, format=TableFormat()).fit(frame).format_.view == "weighed"
    assert PCA(1, format=TableFormat(view="linear")).fit(frame).format_.view == "linear"
