"""stub"""
def evaluate_model(*a): return {}
