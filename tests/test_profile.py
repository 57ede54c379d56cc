import jax
import jax.numpy as jnp
import pytest

from smac_jax.speed.profile import find_products, products_share


def products(matrix):
    # Products of results, which cannot be computed beforehand, beside one reduction.
    return jax.lax.fori_loop(0, 5, lambda _, left: left @ matrix / 500.0, matrix).sum()


def sines(matrix):
    return jax.lax.fori_loop(0, 5, lambda _, left: jnp.sin(left + matrix), matrix).sum()


@pytest.mark.parametrize(("function", "least", "most"), [(products, 0.3, 1.1), (sines, 0.0, 0.0)])
def test_time_is_of_products_alone(function, least, most):
    matrix = jnp.ones((500, 500))
    program = jax.jit(function).lower(matrix).compile()
    share = products_share(program.as_text(), lambda: jax.block_until_ready(program(matrix)))
    assert least <= share <= most


def test_a_product_is_found_alone_and_in_what_is_fused_with_it():
    program = """HloModule jit_run

%fused (a: f32[2,2], b: f32[2,2]) -> f32[2,2] {
  %a = f32[2,2]{1,0} parameter(0)
  %b = f32[2,2]{1,0} parameter(1)
  ROOT %inner.1 = f32[2,2]{1,0} dot(%a, %b), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

%other (a: f32[2,2]) -> f32[2,2] {
  %a.1 = f32[2,2]{1,0} parameter(0)
  ROOT %sine = f32[2,2]{1,0} sine(%a.1)
}

ENTRY %main (x: f32[2,2]) -> f32[2,2] {
  %x = f32[2,2]{1,0} parameter(0)
  %dot.2 = f32[2,2]{1,0} dot(%x, %x), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  %sine_fusion = f32[2,2]{1,0} fusion(%dot.2), kind=kLoop, calls=%other
  ROOT %product_fusion.3 = f32[2,2]{1,0} fusion(%sine_fusion, %dot.2), kind=kCustom, calls=%fused
}
"""
    assert find_products(program) == {"inner.1", "dot.2", "product_fusion.3"}
