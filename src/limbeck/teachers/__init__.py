"""Who the teacher is, and in which order things are trained."""

from limbeck.teachers.plan import Plan as Plan
from limbeck.teachers.plan import Stage as Stage
from limbeck.teachers.teacher import Inputs as Inputs
from limbeck.teachers.teacher import Teacher as Teacher
from limbeck.teachers.teacher import TeacherChoice as TeacherChoice
from limbeck.teachers.teacher import load_teacher as load_teacher
