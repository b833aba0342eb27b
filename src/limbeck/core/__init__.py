"""The equation and its nouns. Imports nothing else of the package."""

from limbeck.core.batch import Batch as Batch
from limbeck.core.batch import Clock as Clock
from limbeck.core.batch import Mix as Mix
from limbeck.core.batch import Output as Output
from limbeck.core.batch import Units as Units
from limbeck.core.cohort import Cohort as Cohort
from limbeck.core.cohort import Peers as Peers
from limbeck.core.imitation import Losses as Losses
from limbeck.core.imitation import Target as Target
from limbeck.core.imitation import imitation as imitation
from limbeck.core.objective import Needs as Needs
from limbeck.core.objective import Objective as Objective
from limbeck.core.objective import Room as Room
from limbeck.core.objective import Step as Step
from limbeck.core.objective import TargetWriter as TargetWriter
from limbeck.core.roles import RecordedTeacher as RecordedTeacher
from limbeck.core.roles import Stateful as Stateful
from limbeck.core.roles import Task as Task
from limbeck.core.roles import Teacher as Teacher
from limbeck.core.schedules import Constant as Constant
from limbeck.core.schedules import Linear as Linear
from limbeck.core.schedules import RampUp as RampUp
from limbeck.core.schedules import Until as Until
from limbeck.core.shard import Shard as Shard
from limbeck.core.taps import Tapped as Tapped
from limbeck.errors import LimbeckError as LimbeckError
