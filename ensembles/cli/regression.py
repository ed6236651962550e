"""What a regression leaves no sense to."""

from ensembles.errors import UserError

BACKBONES, POINTS = "ensembles.backbones.", ("mlp",)  # of the project's own networks, those that take points


def require_classes_unasked(config: dict) -> None:
    """Refuse settings that are about classes, and networks for images, where numbers are predicted from points.

    Raises:
        UserError: names the setting.
    """
    asked = {
        "evaluation.temperature_scaling": config["evaluation"]["temperature_scaling"],
        "recipe.label_smoothing": config["recipe"].get("label_smoothing"),
        "recipe.loss": config["recipe"].get("loss", "cross_entropy") != "cross_entropy",
    }
    for key, there in asked.items():
        if there:
            group, _, name = key.partition(".")
            raise UserError(
                f"{key}={str(config[group][name]).lower()} is about classes, and this data set has numbers to predict: "
                "leave it out."
            )
    model = config["model"]["_target_"]
    if model.startswith(BACKBONES) and model.removeprefix(BACKBONES) not in POINTS:
        raise UserError(f"{model.removeprefix(BACKBONES)} takes images, and this data set has points: set model=mlp.")
