"""The prompt of every benchmark: a page of plain English, so that routing is that of real text."""

PASSAGE = """\
The harbour had been quiet since the ferry stopped running, and most of the people who were left had learned to mend \
things rather than replace them. Ines kept a workshop at the end of the pier, two rooms and a stove, where she \
repaired clocks, pumps, radios and once, at the request of a child, a wooden heron whose neck had lost its spring. \
She wrote every job into a ledger: the date, what was broken, what she had tried, and what had finally helped. When \
winter came early that year she had filled eleven of them, and the oldest entries were already useful to her again.

On the first Monday of November the keeper of the lighthouse rowed over with a box under his coat. Inside lay the \
governor of the lamp, a brass frame with three weights that should have swung outwards as it turned. "It runs fast \
after midnight," he said. "Not by much. Forty flashes where there should be thirty-eight. The captains notice." She \
asked whether the room was heated, how often he oiled the bearings, and what the wind had been doing. He answered \
each question slowly, as if the answers had to be carried up the stairs first. Then he drank his tea and rowed home.

She began with what was easy to rule out. Oil thickens in the cold, which makes a governor slow, not fast. A worn \
pivot lets the weights hang closer to the shaft, but that would show at noon as well as at midnight. She measured \
the springs against a table that her teacher had copied from a German book: at ten degrees one of them pulled with \
almost four per cent more force than its neighbours, and at twenty with only one. Somebody had replaced it with steel \
of another kind. Alone in a warm shop nobody would ever have found the difference; on a tower above the sea, in the \
hours before dawn, it added two flashes to every five minutes.

There was no such spring to be bought within a hundred miles. She thought of three ways to proceed. The keeper could \
heat the lamp room, which would cost him a sack of coal each week. She could wind a new spring, which might take \
several attempts and would use up the wire she kept for the hospital's pump. Or she could weaken the two good springs \
until all three agreed, and then set the whole governor to its proper speed again with a slightly heavier weight. The \
last was quick, but it would leave the next person to open the box with a puzzle: three springs that matched each \
other and no table in the world. She decided to wind the new one, and to write down, before she started, exactly why.
"""
