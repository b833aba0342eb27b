"""Recipes: YAML that names classes from closed tables and sets their fields. Reading one executes nothing in it."""

from limbeck.recipes.read import read_recipe as read_recipe
from limbeck.recipes.shipped import recipe_names as recipe_names
from limbeck.recipes.shipped import recipe_path as recipe_path
