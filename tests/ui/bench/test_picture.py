from ui.bench.picture import bars


def test_a_family_of_figures_is_drawn_to_its_largest() -> None:
    figures = {
        "x_naive_mape_frac": 0.08,
        "x_ridge_mape_frac": 0.04,
        "y_ridge_mape_frac": 0.5,
        "x_best_mape_frac": 0.01,
    }
    assert bars(figures, width=8) == [
        "x ... mape_frac",
        "  naive  ████████  0.08",
        "  ridge  ████      0.04",
        "  best   █         0.01",
    ]


def test_eighths_of_a_cell_are_drawn_and_what_is_below_zero_has_no_bar() -> None:
    figures = {"x_a_gain_frac": 1.0, "x_b_gain_frac": 0.3125, "x_c_gain_frac": -0.5}
    assert [line[5:] for line in bars(figures, width=4)[1:]] == ["████  1", "█▎    0.312", "      -0.5"]


def test_two_figures_or_nothing_but_zeros_are_no_picture() -> None:
    assert bars({"x_a_wait_s": 1.0, "x_b_wait_s": 2.0}) == []
    assert bars({"x_a_wait_s": 0.0, "x_b_wait_s": 0.0, "x_c_wait_s": 0.0}) == []


def test_another_measure_in_the_same_unit_is_another_family() -> None:
    maes = {f"np_{name}_mae_eur_per_mwh": 2.0 for name in "abc"}
    assert bars({**maes, "np_a_rmse_eur_per_mwh": 9.0}, width=2) == [
        "np ... mae_eur_per_mwh",
        *(f"  {name}  ██  2" for name in "abc"),
    ]
