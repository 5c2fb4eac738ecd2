"""One-dimensional k-means the slow way."""

from __future__ import annotations


def lloyd(weights: list[float], centroids: list[float], rounds: int) -> list[float]:
    """Centroids after Lloyd's rounds; an empty cluster keeps its centroid, a weight between two goes to the lower."""
    for _ in range(rounds):
        members: list[list[float]] = [[] for _ in centroids]
        for weight in weights:
            members[nearest(weight, centroids)].append(weight)
        centroids = [sum(own) / len(own) if own else old for own, old in zip(members, centroids, strict=True)]
    return centroids


def nearest(weight: float, centroids: list[float]) -> int:
    return min(range(len(centroids)), key=lambda j: (abs(weight - centroids[j]), j))


def cheapest(weight: float, centroids: list[float], prices: list[float]) -> float:
    """The cost of the best choice."""
    return min((weight - c) ** 2 + p for c, p in zip(centroids, prices, strict=True))
