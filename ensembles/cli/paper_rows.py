"""The rows of the papers' tables as options of ``experiment``, read from the tables when Hydra asks for them."""

from functools import cache

from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from omegaconf import OmegaConf

GROUP = "experiment"


@cache
def rows() -> dict:
    """Read all rows, by their names as options of ``experiment``."""
    from ensembles import papers  # its schema takes a while to import, which only experiments need
    from ensembles.papers.experiments import shipped

    tables = [papers.load(name) for name in papers.names()]
    return {name: row for table in tables if not table.is_figure for name, row in shipped(table).items()}


class PaperRows(ConfigSource):
    """What Hydra searches at ``papers://rows``, as it searches a folder of configs."""

    @staticmethod
    def scheme() -> str:
        return "papers"

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return config_path == GROUP or config_path.removeprefix(f"{GROUP}/") in self._papers(config_path)

    def is_config(self, config_path: str) -> bool:
        return self._row(config_path) is not None

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if config_path == "":
            return [GROUP] if results_filter != ObjectType.CONFIG else []
        if config_path == GROUP:
            return sorted(self._papers(config_path)) if results_filter != ObjectType.CONFIG else []
        if not self.is_group(config_path) or results_filter == ObjectType.GROUP:
            return []
        prefix = config_path.removeprefix(f"{GROUP}/") + "/"
        return sorted(name.removeprefix(prefix) for name in rows() if name.startswith(prefix))

    def load_config(self, config_path: str) -> ConfigResult:
        from ensembles.papers.experiments import config

        row = self._row(config_path)
        if row is None:
            raise ConfigLoadError(f"There is no {config_path}.")
        return ConfigResult(
            provider=self.provider,
            path=f"{self.scheme()}://{config_path}",
            config=OmegaConf.create(config(row)),
            header={"package": "_global_"},
        )

    @staticmethod
    def _papers(config_path: str) -> set[str]:
        if not config_path.startswith(GROUP):
            return set()
        from ensembles import papers

        return {name.partition("/")[0] for name in papers.names()}

    @staticmethod
    def _row(config_path: str):
        """Find the row of experiment/<paper>/<row>; no table is read for experiment/None, which Hydra also asks for."""
        group, _, name = config_path.removesuffix(".yaml").partition("/")
        return rows().get(name) if group == GROUP and "/" in name else None


Plugins.instance().register(PaperRows)
