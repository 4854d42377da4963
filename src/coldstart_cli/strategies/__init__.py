"""Ways out of a cold start, by family, each under its public name."""

from coldstart_cli.faces import face

__getattr__, __dir__ = face(
    __name__,
    {
        "meta_learning.maml": "MAML",
        "meta_learning.mamlpp": "MAMLPlusPlus",
        "meta_learning.maml_lora": "LowRankMAML",
        "meta_learning.reptile": "Reptile",
        "meta_learning.proto_maml": "ProtoMAML",
        "meta_learning.protonet": "ProtoNet",
        "meta_learning.simple_cnaps": "SimpleCNAPs",
        "meta_learning.feat": "FEAT",
        "meta_learning.matching": "MatchingNetwork",
        "meta_learning.r2d2": "R2D2",
        "meta_learning.task_encoder": "TaskEncoder",
        "meta_learning.neural_process": "AttentiveNeuralProcess",
        "meta_learning.film": "FiLM",
        "meta_learning.cavia": "CAVIA",
        "distillation.distillation": "Distillation",
        "distillation.born_again": "BornAgain",
        "transfer.fine_tune": "FineTune L2SP LPFT",
        "transfer.frozen_features": "Logistic NearestCentroid",
        "transfer.soft_kmeans": "SoftKMeans",
        "transfer.lora": "LoRA",
        "transfer.setfit": "SetFit",
        "transfer.tip_adapter": "TipAdapter",
        "transfer.baseline_pp": "BaselinePP",
        "transfer.source_selection": "SourceSelection",
        "alignment.task_alignment": "TaskAlignment",
        "alignment.co_tuning": "CoTuning",
        "alignment.feature_distance": "DomainDistance ccsa coral mcc mmd",
        "alignment.ada_bn": "AdaBN",
        "alignment.adversarial": "DomainAdversarial",
        "alignment.guarded": "Guarded",
    },
)
