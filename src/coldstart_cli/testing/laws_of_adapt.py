"""Laws of `adapt`: what a strategy makes of a new task."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Inputs, Task, map_inputs
from coldstart_cli.errors import RequestError, Unserved
from coldstart_cli.evaluation.adaptations import Adaptations
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.testing.law import apart, changed_in, law
from coldstart_cli.testing.trial import Trial

_PLAIN = (bool, int, float, str, type(None))


def ready(made: Experiment) -> tuple[Strategy, Task]:
    """The strategy in evaluation mode, and a new task."""
    return made.strategy.eval(), made.source.tasks("new", [0])[0]


def said(adapted: Adapted, inputs: Inputs) -> Tensor:
    """Outputs of the predictor, without a graph."""
    with torch.no_grad():
        outputs: Tensor = adapted.module(inputs)
    return outputs


def wrong_with(outputs: Tensor, task: Task) -> str | None:
    """What is wrong with a predictor's outputs for the query set, or None."""
    asked = (len(task.query), task.support.objective.n_outputs)
    if outputs.shape != asked:
        return f"its outputs have the shape {tuple(outputs.shape)} instead of {asked}"
    return None if torch.isfinite(outputs).all() else "its outputs are not finite"


def state_of(strategy: Strategy) -> dict[str, object]:
    """Copies of everything in it: tensors, gradients, and plain attributes of its modules."""
    state: dict[str, object] = {key: value.clone() for key, value in strategy.state_dict().items()}
    for name, parameter in strategy.named_parameters():
        state[f"the gradient of {name}"] = None if parameter.grad is None else parameter.grad.clone()
    for prefix, module in strategy.named_modules():
        own = {name: value for name, value in vars(module).items() if isinstance(value, _PLAIN)}
        state |= {f"{prefix}.{name}".lstrip("."): value for name, value in own.items()}
    return state


@law(
    "adapt changes nothing of the strategy",
    "keep what adaptation makes in Adapted.changed, and compute with copies (training.inner_loop.descend)",
)
def adapt_changes_nothing(trial: Trial) -> str | None:
    strategy, task = ready(trial.experiment())  # one that has never adapted, which may change it once
    before = state_of(strategy)
    for adapted in islice(strategy.adapt(task.support), 3):
        adapted.module(task.query.inputs)
    names = changed_in(before, state_of(strategy))
    return f"it changed {', '.join(names[:3])}" if names else None


@law(
    "a prediction does not depend on the other inputs of its batch",
    "take no statistics over a batch at prediction, or say so by the property `transductive`",
    lambda trial: not trial.strategy.transductive,
)
def prediction_is_inductive(trial: Trial) -> str | None:
    strategy, task = ready(trial.untrained)
    first = map_inputs(lambda t: t[:1], task.query.inputs)
    for step, adapted in enumerate(islice(strategy.adapt(task.support), 2)):
        together, alone = said(adapted, task.query.inputs)[:1], said(adapted, first)
        # Kernels sum a batch of one in another order, which single precision shows in the fifth digit.
        difference = apart(together, alone, rtol=1e-4, atol=1e-4)
        if difference is not None:
            return f"after step {step} an input alone gets an output {difference:.2g} away"
    return None


@law(
    "adapt yields predictors for the whole query set, the first before any gradient step",
    "yield once before the loop; if that first predictor is made of the support set, set starts_from_support",
)
def first_item_is_the_unadapted_predictor(trial: Trial) -> str | None:
    made = trial.untrained
    strategy, task = ready(made)
    items = list(islice(strategy.adapt(task.support), 3))
    if not items:
        return "it yields nothing"
    for adapted in items:
        if wrong := wrong_with(said(adapted, task.query.inputs), task):
            return wrong
    if len(items) == 1 or strategy.starts_from_support:
        return None
    other = next(strategy.adapt(made.source.tasks("new", [1])[0].support))
    one, two = (said(adapted, task.query.inputs) for adapted in (items[0], other))
    if apart(one, two, rtol=1.3e-6, atol=1e-5) is not None:
        return "its first predictor differs from task to task"
    return None


@law(
    "the order of the support set does not matter",
    "take sums or means over it, and draw mini-batches from training.inner_loop.canonical(support)",
)
def order_of_the_support_does_not_matter(trial: Trial) -> str | None:
    strategy, task = ready(trial.experiment(dataset={"k_shot": 3}))
    support = task.support
    # A fixed order: a law must give the same answer every time.
    order = torch.randperm(len(support), generator=torch.Generator().manual_seed(1))
    shuffled = replace(
        support, inputs=map_inputs(lambda t: t[order], support.inputs), targets=support.targets[order]
    )
    one, two = (said(list(islice(strategy.adapt(s), 3))[-1], task.query.inputs) for s in (support, shuffled))
    difference = apart(one, two, rtol=1e-3, atol=1e-3)
    return None if difference is None else f"in another order an output is {difference:.2g} away"


@law(
    "a replayed adaptation has the bits of a computed one, and can be replayed unless it says otherwise",
    "read no value and draw no number in adapt, or set replayable = False, which is slower",
)
def adaptations_are_replayed(trial: Trial) -> str | None:
    made, steps = trial.untrained, [0, 1, 2]
    strategy = made.strategy.eval()
    replayed = Adaptations(steps, made.hardware, beside=True)
    # One is computed, one recorded, one compared, and two are replayed.
    for task in made.source.tasks("new", range(5 if strategy.replayable else 2)):
        expected = Adaptations(steps, made.hardware, beside=True)(strategy, task)
        found = replayed(strategy, task)
        if [(a.step, a.role) for a in expected] != [(a.step, a.role) for a in found]:
            return "a replay answers after other steps"
        if not all(torch.equal(a.outputs, b.outputs) for a, b in zip(expected, found, strict=True)):
            return "a replay gives other outputs"
        if not all(answer.seconds > 0 for answer in found):
            return "a replay takes no time"
    if strategy.replayable and not replayed.replays.recordable:
        return "it cannot be recorded"
    return None


@law(
    "predictors beside it serve the same task",
    "give each role of Adapted.beside a predictor (n, ...) -> (n, n_outputs) of its own",
)
def predictors_beside_it_serve_the_task(trial: Trial) -> str | None:
    strategy, task = ready(trial.untrained)
    for adapted in islice(strategy.adapt(task.support), 3):
        for role, build in adapted.beside.items():
            if role in ("strategy", "baseline"):
                return f"it calls one {role}, which has that role already"
            with torch.no_grad():
                wrong = wrong_with(build()(task.query.inputs), task)
            if wrong:
                return f"{wrong} ({role})"
    return None


@law(
    "a regression is served, or refused with the reason",
    "set needs_classes, or give outputs of the width of the targets",
    lambda trial: (
        trial.strategy.needs_model == "any"  # no regression here has words or captions
        and (trial.strategy.needs_classes or trial.untrained.source.shape.n_way is not None)
    ),
)
def regression_is_served_or_refused(trial: Trial) -> str | None:
    try:
        made = trial.experiment(regression=True)
    except Unserved as error:
        return None if "regression; choose" in str(error) else f"it is refused by {str(error)!r}"
    strategy, task = ready(made)
    for adapted in islice(strategy.adapt(task.support), 2):
        if wrong := wrong_with(said(adapted, task.query.inputs), task):
            return wrong
    return None


@law(
    "a task without labels is refused where its classes are new",
    "let `refusal` end in super().refusal(tasks)",
    lambda trial: (
        not trial.untrained.source.shares_labels
        and not (trial.strategy.reads_names and trial.untrained.source.named)
    ),
)
def task_without_labels_is_refused(trial: Trial) -> str | None:
    try:
        trial.experiment(evaluation={"k_shots": [0]})
    except Unserved as error:
        kept = "k_shot is 0" in str(error) and "; give labels" in str(error)
        return None if kept else f"it is refused by {str(error)!r}"
    return "it is served"


@law(
    "one that reads names shows what they are worth",
    "give `names off` in Strategy.ablations (strategies.building_blocks.names: ablations_of_names)",
    lambda trial: trial.strategy.reads_names,
)
def names_come_with_their_ablation(trial: Trial) -> str | None:
    strategy, task = ready(trial.untrained)
    n_way, targets = task.support.objective.n_outputs, task.query.targets.tolist()
    first = torch.tensor([targets.index(c) for c in range(n_way)])
    # A name is an input like any other: here a query of its class.
    support = replace(task.support, names=map_inputs(lambda t: t[first], task.query.inputs))
    found = strategy.ablations(support, support)
    return None if "names off" in found else f"its ablations are {', '.join(found) or 'none'}"


def distances(
    trial: Trial, n_tasks: int, n_steps: int, *, outer_steps: int = 20, **values: object
) -> list[list[float]]:
    """The notes `distance` after each step on new tasks, by a strategy trained for `outer_steps`."""
    # A batch larger than every set, so that the distance does not depend on what was drawn.
    made = trial.experiment(dataset={"k_shot": 3}, strategy={"adaptation_batch_size": 256, **values})
    strategy = made.strategy.double().train()
    list(islice(strategy.fit(made.source), outer_steps))
    strategy.eval()
    noted = []
    for task in made.source.tasks("new", range(n_tasks)):
        items = islice(strategy.adapt(task.support), n_steps)
        noted.append([item.notes["distance"] for item in items if "distance" in item.notes])
    return noted


@law(
    "one that uses unlabelled examples notes a `distance`, and one that notes it says how it lowers it",
    "note it in Adapted.notes, and set lowers_distance_by (a hyper-parameter's name) or adversarial = True",
)
def distance_is_noted_by_who_says_so(trial: Trial) -> str | None:
    strategy = trial.strategy
    says = strategy.lowers_distance_by is not None or strategy.adversarial
    # One outer step fills what adaptation needs of the source; a strategy that says so has a whole training
    notes = any(all(distances(trial, 1, 3, outer_steps=n)) for n in ((1, 20) if says else (1,)))
    if strategy.needs_unlabelled and not notes:
        return "it needs unlabelled examples and notes no distance"
    if notes != says:
        return "it notes one and says nothing" if notes else "it notes none"
    return None


@law(
    "its steps lower the `distance` by the weight that lowers_distance_by names",
    "let the loss of a step hold weight * distance; if a discriminator judges it, set adversarial = True",
    lambda trial: trial.strategy.lowers_distance_by is not None,
)
def distance_falls_during_adapt(trial: Trial) -> str | None:
    """Tried with more and more weight, so that other losses cannot hide the fall."""
    name = str(trial.strategy.lowers_distance_by)
    key, weight = name.rpartition(".")[2], trial.value(name)
    with_less = distances(trial, 2, 8, **{key: weight / 10})
    for factor in (1, 10, 1e6):
        try:
            noted = distances(trial, 2, 8, **{key: weight * factor})
        except RequestError:  # a share cannot be more than 1
            continue
        if noted == with_less:
            return f"{name} changes nothing"
        if sum(d[-1] for d in noted) < sum(d[0] for d in noted):
            return None
    return f"it does not fall, whatever {name} is"
