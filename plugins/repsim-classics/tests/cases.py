"""Every metric with the options that matter, and its value for two matrices of features."""

from typing import get_args

import numpy as np
import repsim_energy as rs
import torch

from repsim_classics.cca import CCA, PWCCA, SVCCA
from repsim_classics.neighbors import MutualKNN
from repsim_classics.procrustes import Procrustes
from repsim_classics.rbf_cka import RBFCKA
from repsim_classics.rsa import RSA, Dissimilarity, Method

ONE_OF_EACH = {
    "procrustes": Procrustes(),
    "cca": CCA(),
    "svcca": SVCCA(),
    "pwcca": PWCCA(),
    "rsa": RSA(),
    "mutual_knn": MutualKNN(),
    "rbf_cka": RBFCKA(),
}

METRICS = {
    **ONE_OF_EACH,
    "procrustes:form=angular": Procrustes(form="angular"),
    "cca:statistic=r2": CCA(statistic="r2"),
    "svcca:variance=0.9": SVCCA(variance=0.9),
    "mutual_knn:k=3:distance=euclidean": MutualKNN(k=3, distance="euclidean"),
    "rbf_cka:estimator=biased": RBFCKA(estimator="biased", bandwidth=0.5),
    **{
        f"rsa:method={method}:dissimilarity={d}": RSA(method=method, dissimilarity=d)
        for d in get_args(Dissimilarity)
        for method in get_args(Method)
    },
}


def represent(metric, features):
    return metric.represent(rs.Activations(torch.as_tensor(features)))


def measure(metric, x, y):
    return metric.compare(represent(metric, x), represent(metric, y))


def rotation(size, seed=0):
    square = np.random.default_rng(seed).standard_normal((size, size))
    return np.linalg.qr(square)[0]
