"""What representation of student and teacher is matched: one file per paper, what goes into a loss, and of what."""

from limbeck.core.matcher import Matcher
from limbeck.matching.attention import AttentionTransfer as AttentionTransfer
from limbeck.matching.attention import attention_distance as attention_distance
from limbeck.matching.attention import attention_map as attention_map
from limbeck.matching.coders import AutoEncoder as AutoEncoder
from limbeck.matching.coders import Coder as Coder
from limbeck.matching.coders import Paraphraser as Paraphraser
from limbeck.matching.coders import Translator as Translator
from limbeck.matching.coders import reconstruction_loss as reconstruction_loss
from limbeck.matching.factors import FactorTransfer as FactorTransfer
from limbeck.matching.factors import collapsed_factor as collapsed_factor
from limbeck.matching.factors import factor as factor
from limbeck.matching.factors import factor_distance as factor_distance
from limbeck.matching.factors import factor_exploration as factor_exploration
from limbeck.matching.fitnet import FitNet as FitNet
from limbeck.matching.fitnet import Regressor as Regressor
from limbeck.matching.fitnet import hint_distance as hint_distance
from limbeck.matching.ie import WRAPPED
from limbeck.matching.ie import InheritExplore as InheritExplore
from limbeck.matching.ie import Split as Split
from limbeck.matching.ie import natural_split as natural_split
from limbeck.matching.ie import random_split as random_split
from limbeck.matching.overhaul import Connector as Connector
from limbeck.matching.overhaul import Overhaul as Overhaul
from limbeck.matching.overhaul import explore_overhaul as explore_overhaul
from limbeck.matching.overhaul import margin as margin
from limbeck.matching.overhaul import margin_relu as margin_relu
from limbeck.matching.overhaul import partial_l2 as partial_l2

MATCHERS: dict[str, type[Matcher]] = {**WRAPPED, "ie": InheritExplore}
