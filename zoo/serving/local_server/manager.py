"""Which versions of which models are in memory: follows the folders, swaps without a gap."""

import concurrent.futures
import contextlib
import ctypes
import gc
import logging
import threading
import time

from grpc import StatusCode

from zoo.serving.errors import ServingError
from zoo.serving.local_server.sources import listed_names, wanted_versions
from zoo.serving.local_server.versions import State, Version

log = logging.getLogger(__name__)


class Manager:
    """Loads new versions aside, serves them once they are warm, then lets the old ones go.

    Args:
        source: Folder of models, or `ModelServerConfig`; see `zoo.serving.local_server.sources`.
        load: Function from the folder of a version, and whether no other version of the model is
            in memory, to a `Servable` that is warm.
        poll_seconds: How often the folders are looked at; the stock server does it each second.
    """

    def __init__(self, source, load, poll_seconds=1.0):
        self._source, self._load, self._poll_seconds = source, load, poll_seconds
        self._versions = {}  # (name, number) -> Version
        self._labels = {}  # name -> {label: number}
        self._lock = threading.Lock()  # of the two above
        self._polling = threading.Lock()  # one poll at a time
        # All loads in one thread: glibc keeps a heap for each, and what one leaves, the next takes.
        self._loader = concurrent.futures.ThreadPoolExecutor(1, "loader")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="manager", daemon=True)

    def start(self):
        """Loads every model, then goes on in a thread.

        Raises:
            ValueError: If there is no model, or one that cannot be loaded.
        """
        names = self._poll(self._source)
        if not names:
            raise ValueError(
                f"No model to serve in {self._source}: expected <name>/<version>/saved_model.pb, "
                "such as `lrcn export` writes."
            )
        try:
            self._check_available(names)
            self._set_labels(self._source)
        except ServingError as error:
            raise ValueError(error.message) from error
        self._thread.start()

    def stop(self):
        """Ends the thread; what is loaded stays until the process ends."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    @contextlib.contextmanager
    def use(self, spec):
        """Holds the version that a `ModelSpec` asks for, the newest if it asks for none.

        Raises:
            ServingError: INVALID_ARGUMENT without a name or with an unknown label, NOT_FOUND for
                a model or version that is not available.
        """
        with self._lock:
            version = self._find(spec)
            version.users += 1
        try:
            yield version
        finally:
            with self._lock:
                version.users -= 1

    def knows(self, name):
        """Whether there is, or was, a model of this name."""
        with self._lock:
            return any(model == name for model, _ in self._versions)

    def available(self):
        """List of `(name, number)` of what is served."""
        with self._lock:
            return sorted(key for key, version in self._versions.items() if version.available)

    def statuses(self, spec):
        """List of `ModelVersionStatus` of a model, or of the version that the spec names.

        Raises:
            ServingError: NOT_FOUND for a model or version that was never seen.
        """
        number = spec.version.value if spec.HasField("version") else None
        with self._lock:
            found = [v for (name, _), v in sorted(self._versions.items()) if name == spec.name]
            statuses = [v.status() for v in found if number in (None, v.number)]
        if not statuses:
            which = "any versions" if number is None else f"version {number}"
            message = f"Could not find {which} of model {spec.name}"
            raise ServingError(StatusCode.NOT_FOUND, message)
        return statuses[::-1]  # newest first

    def reload(self, config):
        """Serves what a `ModelServerConfig` says, and nothing else, from now on.

        Raises:
            ServingError: INVALID_ARGUMENT for a config that makes no sense, UNKNOWN if one of its
                models does not become available, FAILED_PRECONDITION for a label of a version
                that is not available.
        """
        try:
            names = self._poll(config)
        except (OSError, ValueError) as error:
            raise ServingError(StatusCode.INVALID_ARGUMENT, str(error)) from error
        self._check_available(names)
        self._set_labels(config)

    def _watch(self):
        while not self._stop.wait(self._poll_seconds):
            try:
                self._poll()
            except OSError as error:  # the folder may be back the next time
                log.warning("cannot look for models: %s", error)
            except Exception:  # what is served goes on being served
                log.exception("cannot look for models")

    def _poll(self, new_source=None):
        """Brings memory in line with the disk; names of the models that should be there."""
        with self._polling:
            source = self._source if new_source is None else new_source
            wanted = wanted_versions(source)
            self._source = source
            for (name, number), path in sorted(wanted.items()):
                with self._lock:
                    version = self._versions.get((name, number))
                    if version is None or version.gone:
                        version = self._versions[name, number] = Version(name, number, path)
                if version.may_load():
                    self._try_to_load(version)
            self._unload_all_but(wanted.keys())
            self._forget_unused()
        return {name for name, _ in wanted} | listed_names(source)

    def _try_to_load(self, version):
        version.begin()
        start = time.monotonic()
        try:
            with self._lock:
                first = not any(
                    v.servable for v in self._versions.values() if v.name == version.name
                )
            servable = self._loader.submit(self._load, version.path, first).result()
        except Exception as error:
            if not isinstance(error, ServingError):
                error = ServingError(StatusCode.INTERNAL, f"{version.path}: {error}")
            version.fail(error)
            log.error("cannot load %s version %d: %s", version.name, version.number, error)
            return
        with self._lock:
            version.servable, version.state = servable, State.AVAILABLE
        seconds = time.monotonic() - start
        log.info("serving %s version %d, loaded in %.1f s", version.name, version.number, seconds)

    def _unload_all_but(self, wanted):
        """Takes versions out of service; a model keeps them until a new one can take over."""
        with self._lock:
            ready = {key[0] for key in wanted if self._versions[key].available}
            waiting = {name for name, _ in wanted} - ready
            for key, version in self._versions.items():
                if key in wanted or version.name in waiting:
                    continue
                if version.available:
                    version.state = State.UNLOADING  # no request finds it any more
                    log.info("unloading %s version %d", version.name, version.number)
                version.error = None  # of a load that nobody wants any more

    def _forget_unused(self):
        with self._lock:
            versions = self._versions.values()
            unused = [v for v in versions if v.state == State.UNLOADING and v.users == 0]
        for version in unused:
            version.servable.close()
            version.servable, version.state = None, State.END
        if unused:
            _return_memory()

    def _find(self, spec):
        if not spec.name:
            raise ServingError(StatusCode.INVALID_ARGUMENT, "ModelSpec has no name specified.")
        available = {
            number: version
            for (name, number), version in self._versions.items()
            if name == spec.name and version.available
        }
        choice = spec.WhichOneof("version_choice")
        number = max(available, default=None)
        if choice == "version":
            number = spec.version.value
        elif choice == "version_label":
            number = self._labels.get(spec.name, {}).get(spec.version_label)
            if number is None:
                message = f"Unrecognized servable version label: {spec.version_label}"
                raise ServingError(StatusCode.INVALID_ARGUMENT, message)
        if number not in available:
            wish = "" if choice is None else f" version {number}"
            message = f"Servable not found for request: {spec.name}{wish}"
            raise ServingError(StatusCode.NOT_FOUND, message)
        return available[number]

    def _check_available(self, names):
        with self._lock:
            versions = self._versions.values()
            missing = sorted(names - {v.name for v in versions if v.available})
            why = {v.name: v.error for v in versions if v.error}
        if missing:
            reasons = "; ".join(f"{name}: {why.get(name, 'no version')}" for name in missing)
            message = f"Some models did not become available: {reasons}"
            raise ServingError(StatusCode.UNKNOWN, message)

    def _set_labels(self, source):
        models = source.model_config_list.config if hasattr(source, "model_config_list") else ()
        labels = {model.name: dict(model.version_labels) for model in models}
        served = set(self.available())
        for name, of_model in labels.items():
            for label, number in of_model.items():
                if (name, number) not in served:
                    raise ServingError(
                        StatusCode.FAILED_PRECONDITION,
                        f"The label {label} names version {number} of {name}, which is not served.",
                    )
        with self._lock:
            self._labels = labels


def _return_memory():
    """Gives to the system what was freed; glibc alone would keep 200 MB of a closed captioner."""
    gc.collect()  # graphs are full of cycles
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, others do not
    if trim is not None:
        trim(0)
