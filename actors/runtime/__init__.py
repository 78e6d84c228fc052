"""What hosts the actors of one worker.

``node`` is the door: it finds the ``activation`` of a key, or has it loaded. An activation takes commands one at a
time, decides and applies at once, and hands what changed to the ``committer``, which writes everything that has
gathered in one transaction. Until it has returned, the gate holds back every reply and publication that shows it. The
``hub`` delivers publications to subscribers. ``ownership`` keeps the lease and the slots; ``alarms`` and ``outbox``
are the durable timers and messages.
"""
