"""Plans loads: from the registered model, the machine's profile and the request to a plan with tuned settings."""

import asyncio
import hashlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from hypura_daemon.errors import BudgetTooSmall, ContextTooLong, ServerBusy, WorkerDied, WorkerFailed
from hypura_daemon.hardware.profile import HardwareProfile
from hypura_daemon.hardware.store import HardwareStore
from hypura_daemon.models.model import Model
from hypura_daemon.models.registry import Registry
from hypura_daemon.planning.plan import LoadRequest, Plan, RunSettings
from hypura_daemon.planning.planner import largest_context, plan
from hypura_daemon.planning.run_settings import checked_settings, with_settings
from hypura_daemon.planning.tunings import Tunings
from hypura_daemon.scheduling.context import LEAST_STEP_TOKENS, context_for
from hypura_daemon.system.threads import FILES, PLANNING

PREVIEW_SECONDS = 20.0
"""How long a preview of a plan may wait for the machine's measurement."""
NEED_MARGIN = 1.1
"""How much more memory a resident model gets than the sum of its plan's items, which are estimates."""


class LoadPlanner:
    """Reads files and measurements for the pure planner; the supervisor calls it."""

    def __init__(
        self,
        registry: Registry,
        hardware: HardwareStore,
        context_tokens: int,
        sequences: int,
        statistics_folder: Path | None = None,
        tunings: Tunings | None = None,
    ) -> None:
        self._registry = registry
        self._statistics_folder = statistics_folder
        self._tunings = tunings
        self._hardware = hardware
        self._context_tokens = context_tokens
        self._sequences = sequences

    async def __call__(self, name: str, request: LoadRequest, *, whole: bool) -> Plan:
        """The plan of a load.

        whole: the memory limit is all free memory, so a model that fits takes only what it needs and leaves the rest to
        others. Raises ModelNotFound, ModelFileError, BudgetTooSmall, InvalidRequest.
        """
        model = await FILES(self._registry.open, name, key=name)
        profile = await self._hardware.known_profile(measured_file(model))
        given = checked_settings(request.settings, profile.usable_cores)
        made = await PLANNING(self._plan, model, profile, request)
        found = RunSettings()
        if self._tunings is not None and not request.untuned:
            found = await self._tunings.settings_for(model.digest, made.mode, profile)
        made = with_settings(made, given, found)
        if made.experts is not None and self._statistics_folder is not None:
            path = str(self._statistics_folder / statistics_name(made))
            made = replace(made, experts=replace(made.experts, statistics_path=path))
        return fitted(made) if whole else made

    def _plan(self, model: Model, profile: HardwareProfile, request: LoadRequest) -> Plan:
        trained_tokens, least_tokens = model.hyperparameters.context_length, request.least_context_tokens
        context_is_given = 0 < least_tokens <= request.context_tokens
        usual_tokens = request.context_tokens or min(self._context_tokens, trained_tokens)
        drive = profile.drives[0] if profile.drives else None
        if drive is not None and request.drive_bytes_per_second > 0:
            drive = replace(drive, bytes_per_second=request.drive_bytes_per_second)
        request = replace(
            request,
            context_tokens=context_for(usual_tokens, least_tokens, trained_tokens),
            sequences=request.sequences or self._sequences,
        )
        try:
            return plan(model, profile, drive, request)
        except BudgetTooSmall as error:
            if 0 < least_tokens < request.context_tokens and not context_is_given:
                with suppress(
                    BudgetTooSmall
                ):  # The requests need less than the usual context, or than it is rounded to.
                    return plan(model, profile, drive, replace(request, context_tokens=least_tokens))
            if least_tokens <= usual_tokens:
                raise
            largest_tokens = largest_context(model, profile, drive, request, step_tokens=LEAST_STEP_TOKENS)
            if not largest_tokens:
                raise
            raise ContextTooLong(
                f"a context of {least_tokens} tokens does not fit into {request.memory_limit_bytes / 1e6:.0f} MB: the "
                f"largest that {model.name} can have there is {largest_tokens}; ask for less, or give it more memory "
                f"({error.required_bytes / 1e6:.0f} MB)",
                error.required_bytes,
                largest_tokens,
            ) from error

    async def measured(self, name: str) -> None:
        """Wait a short time until the machine and the drive of the model's file have been measured."""
        model = await FILES(self._registry.open, name, key=name)
        with suppress(TimeoutError, WorkerDied, WorkerFailed):  # The store logs the reason.
            async with asyncio.timeout(PREVIEW_SECONDS):
                await self._hardware.profile(measured_file(model))

    async def preview(self, name: str, request: LoadRequest, *, spare_bytes: int, granted_bytes: int) -> Plan:
        """The plan that a load would get now, without unloading anything.

        It waits for the machine's measurement, since it is to show the expected speed. granted_bytes: the memory for a
        request with a memory limit; spare_bytes: for one without.
        """
        await self.measured(name)
        if request.memory_limit_bytes:
            granted = replace(request, memory_limit_bytes=granted_bytes)
            return await self(name, granted, whole=granted_bytes != request.memory_limit_bytes)
        if not spare_bytes:
            raise ServerBusy(f'loaded models use the whole memory budget, so there is no room for "{name}"; unload one')
        return await self(name, replace(request, memory_limit_bytes=spare_bytes), whole=True)


def measured_file(model: Model) -> Path:
    """The file whose drive is measured: the largest, since a small file gives no reliable figure."""
    return max(model.files, key=lambda file: file.size_bytes).path


def statistics_name(made: Plan) -> str:
    """A file name for this version of the model's files: another version routes differently."""
    identity = "\n".join(f"{file.path} {file.size_bytes} {file.modified_nanoseconds}" for file in made.files)
    return hashlib.sha256(identity.encode()).hexdigest()[:24]


def fitted(made: Plan) -> Plan:
    """The plan with a memory limit of what it needs, if that is less: for resident models, or a limited weight cache.
    Pure."""
    need_bytes = int(sum(item.size_bytes for item in made.memory) * NEED_MARGIN)
    return replace(made, memory_limit_bytes=min(made.memory_limit_bytes, max(1, need_bytes)))
