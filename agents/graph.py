"""The agent's graph: assess, propose, validate, approve, request dispatch, verify, report; chat comes in at converse, and
the rolling horizon, every quarter of an hour while a plan runs, at renew.

The model chooses inside `converse` and `propose` and nowhere else. Only `request_dispatch` asks for anything to happen,
by a plan's id; what happens then is the control process's decision.
"""

from langgraph.graph import END, START, StateGraph
from langgraph.types import RetryPolicy
from psycopg import OperationalError

from agents import routing
from agents.converse import converse
from agents.deps import AgentDeps, AgentSettings
from agents.dispatch import approve, report, request_dispatch, verify
from agents.plan import assess, propose, validate
from agents.renew import renew
from agents.state import State

_AGAIN = RetryPolicy(max_attempts=3, initial_interval=0.2, retry_on=(OperationalError, ConnectionError))


def build_graph(settings: AgentSettings) -> StateGraph[State, AgentDeps, State, State]:
    """Return the graph, to be compiled with a checkpointer; every write in it may be repeated without a second effect."""
    graph = StateGraph(State, context_schema=AgentDeps)
    for node in (converse, assess, renew, propose, validate, approve, request_dispatch, verify, report):
        graph.add_node(node.__name__, node, retry_policy=_AGAIN, timeout=settings.step_timeout)
    graph.add_conditional_edges(START, routing.enter)
    graph.add_conditional_edges("converse", routing.after_converse)
    graph.add_conditional_edges("assess", routing.after_assess)
    graph.add_conditional_edges("renew", routing.after_renew)
    graph.add_conditional_edges("propose", routing.after_propose)
    graph.add_conditional_edges("validate", routing.after_validate)
    graph.add_conditional_edges("approve", routing.after_approve)
    graph.add_edge("request_dispatch", "verify")
    graph.add_conditional_edges("verify", routing.after_verify)
    graph.add_edge("report", END)
    return graph


graph = build_graph(AgentSettings())
