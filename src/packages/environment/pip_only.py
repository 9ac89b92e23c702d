"""Runs the pip that lies in a folder, and imports nothing else from there."""

import importlib.machinery
import runpy
import sys

WHERE = sys.argv.pop(1)


class Only:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return importlib.machinery.PathFinder.find_spec(name, [WHERE], target) if name == "pip" else None


sys.meta_path.insert(0, Only)
runpy.run_module("pip", run_name="__main__", alter_sys=True)
