"""What is chance and what is not."""

import random

import pytest

import chance


def test_three_figures_that_are_all_larger_are_larger_and_two_are_not_enough():
    assert chance.probability([4, 5, 6], [1, 2, 3]) == pytest.approx(1 / 20)
    assert chance.exceeds([4, 5, 6], [1, 2, 3])
    assert not chance.exceeds([4, 5], [1, 2])
    assert not chance.exceeds([4, 5, 2.5], [1, 2, 3])


def test_equal_figures_are_not_larger():
    assert chance.probability([0, 0, 0, 0], [0, 0, 0, 0]) == 1
    assert not chance.exceeds([], [])


def test_nor_are_smaller_ones():
    assert chance.probability([1, 2, 3], [4, 5, 6]) == 1


def test_what_has_the_same_source_is_larger_once_in_twenty_times_or_less():
    source = random.Random(7)
    figures = lambda: [source.choice([1, 2, 3, 4, 9, 14]) for _ in range(6)]
    found = sum(chance.exceeds(figures(), figures()) for _ in range(400))
    assert 2 <= found <= 28


def test_a_dozen_seeds_mostly_find_twice_as_many():
    source = random.Random(7)
    figures = lambda mean: [source.randint(0, 2 * mean) for _ in range(12)]
    found = sum(chance.exceeds(figures(12), figures(6)) for _ in range(50))
    assert found >= 25


def test_many_figures_are_shared_out_by_lot():
    assert chance.exceeds(range(10, 30), range(20))
    assert not chance.exceeds(range(20), range(20))
