"""Fine-tuning heads on a model, not trained."""

from infoxlm_keras.finetuning import ClassificationHead, ClassificationSettings, LabelledTexts


def built_classifier(model, labels, **settings):
    """The `TextClassifier` of `labels` on the `PretrainedModel` `model`, with a random head."""
    head = ClassificationHead([LabelledTexts("en", [["text"] * len(labels)], labels, files=["x"])])
    head.build(model, ClassificationSettings(**settings))
    return head.classifier
