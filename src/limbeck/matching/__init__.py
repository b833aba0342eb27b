"""What representation of student and teacher is matched: one file per paper, pure functions and the modules between."""

from limbeck.matching.attention import attention_distance as attention_distance
from limbeck.matching.attention import attention_map as attention_map
from limbeck.matching.coders import AutoEncoder as AutoEncoder
from limbeck.matching.coders import Coder as Coder
from limbeck.matching.coders import Paraphraser as Paraphraser
from limbeck.matching.coders import Translator as Translator
from limbeck.matching.coders import reconstruction_loss as reconstruction_loss
from limbeck.matching.factor import collapsed_factor as collapsed_factor
from limbeck.matching.factor import factor_distance as factor_distance
from limbeck.matching.fitnet import Regressor as Regressor
from limbeck.matching.fitnet import hint_distance as hint_distance
from limbeck.matching.ie import Split as Split
from limbeck.matching.ie import explore as explore
from limbeck.matching.ie import explore_overhaul as explore_overhaul
from limbeck.matching.ie import inherit as inherit
from limbeck.matching.ie import natural_split as natural_split
from limbeck.matching.ie import random_split as random_split
from limbeck.matching.overhaul import Connector as Connector
from limbeck.matching.overhaul import margin as margin
from limbeck.matching.overhaul import margin_relu as margin_relu
from limbeck.matching.overhaul import partial_l2 as partial_l2
