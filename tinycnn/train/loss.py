"""What training minimises."""
from ..nn import functional as F


class ClassificationLoss:
    """Cross entropy; for a network with auxiliary classifiers, plus aux_weight times theirs. Called with (output, labels), gives (loss, logits).

    Such a network returns a tuple while training: the logits first, then those of the auxiliary classifiers.
    """

    def __init__(self, label_smoothing=0.0, aux_weight=0.3):
        self.label_smoothing, self.aux_weight = label_smoothing, aux_weight

    def __call__(self, output, labels):
        logits, *auxiliary = output if isinstance(output, tuple) else (output,)
        loss = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        for aux_logits in auxiliary:
            loss = loss + self.aux_weight * F.cross_entropy(aux_logits, labels, label_smoothing=self.label_smoothing)
        return loss, logits
