"""Loads a model again while it is served: the old one answers until the new one is ready."""

from __future__ import annotations

import asyncio
import gc
import sys
import traceback
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from onelayer.base.errors import OneLayerError, UsageError
from onelayer.engines.registry import RUN_ENGINE
from onelayer.prediction.load import load
from onelayer.prediction.predictor import Predictor
from onelayer.serving.request_errors import RequestError
from onelayer.serving.scheduler.batcher import lower_thread_priority
from onelayer.serving.service import Service


class ReloadError(OneLayerError):
    """The new model can't be served; the old one still is."""

    http_status = 409


class Reloader:
    """Loads models from their directories, at the start and again.

    Parameters
    ----------
    service
        Serves the models.
    directories
        Of the models, by name.
    engine
        The engine for exported models; None for the fastest.
    """

    def __init__(
        self, service: Service, directories: Mapping[str, str], engine: str | None
    ) -> None:
        self._service = service
        self._directories = directories
        self._engine = engine
        self._one_at_a_time = asyncio.Lock()
        """Two new models next to the old ones would need more memory."""

    def load_all(self) -> None:
        """Loads and warms up all models. It takes long: call it in a thread of its own."""
        lower_thread_priority()
        for name in self._directories:
            self._service.models[name] = self._load(name, self._engine)

    async def reload(self, name: str) -> Predictor:
        """Replaces a model by what its directory holds now, without losing a request.

        Requests go to the old model until the new one has answered a text. The old one is freed
        when its last request is answered.

        Raises
        ------
        ReloadError
            The new model can't be loaded, or is for another task.
        RequestError
            No model of that name, or another one is being loaded.
        """
        old = self._service.model(name)
        if self._one_at_a_time.locked():
            raise RequestError(409, "a model is being loaded already", {"retry-after": "1"})
        async with self._one_at_a_time:
            try:
                new = await self._load_again(name, old)
            except ReloadError as error:
                self._service.log_event(model=name, reload="failed", reason=error.message)
                raise
            self._service.models[name] = new
            await self._service.batcher.finish_jobs_of(old)
            del old
            # The start has frozen what was loaded then, which collections don't visit. The old
            # model has to be visited once to be freed, and the new one is frozen again.
            gc.unfreeze()
            gc.collect()
            gc.freeze()
            self._service.log_event(model=name, reload="done", engine=new.engine.name)
            return new

    async def reload_all(self) -> None:
        """Reloads every model; the log says how it went."""
        for name in self._directories:
            try:
                await self.reload(name)
            except ReloadError:
                pass  # it is in the log, and the others may be all right
            except RequestError as error:
                self._service.log_event(model=name, reload="failed", reason=error.detail)

    async def _load_again(self, name: str, old: Predictor) -> Predictor:
        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, "model loader", initializer=lower_thread_priority)
        try:
            new = await loop.run_in_executor(thread, self._load_like, name, old.engine.name)
        except OneLayerError as error:
            raise ReloadError(self._reason(name, str(error))) from None
        except Exception as error:  # whatever is wrong with new files, the old model stays
            traceback.print_exception(error, file=sys.stderr)
            reason = f"it can't be loaded: {type(error).__name__}"
            raise ReloadError(self._reason(name, reason)) from None
        finally:
            thread.shutdown(wait=False)
        if new.task.name != old.task.name:
            reason = f"it is for {new.task.name}, and callers ask for {old.task.name}"
            raise ReloadError(self._reason(name, reason))
        return new

    def _load_like(self, name: str, engine: str) -> Predictor:
        """The new model in the engine of the old one, so that none has to be measured under load;
        in another one if that can't run it."""
        if self._engine is None and engine != RUN_ENGINE:
            try:
                return self._load(name, engine)
            except UsageError:
                pass  # the new model is of another kind
        return self._load(name, self._engine)

    def _load(self, name: str, engine: str | None) -> Predictor:
        predictor = load(self._directories[name], engine)
        self._service.batcher.warm_up(name, predictor)
        return predictor

    def _reason(self, name: str, text: str) -> str:
        """What is wrong, with the model's name in place of its directory."""
        text = text.replace(self._directories[name], name)
        return f"the earlier model still answers; the new one: {text}"
