"""Small English word lists for key phrases: function words, common verbs, vague words. Data only."""

from __future__ import annotations

__all__ = ["DETERMINERS", "NOT_TOPICS", "STOP_WORDS", "VERBS", "VERB_MARKERS"]

_STOP_WORDS_TEXT = """
a about above across after afterwards again against ago ahead all almost alone along already also although always am
among amongst an and another any anybody anyhow anyone anything anyway anywhere apart are aren't around as aside at away
back be became because been before beforehand behind being below beneath beside besides best better between beyond both
but by can can't cannot could couldn't despite did didn't different do does doesn't doing don't done down during each
either else elsewhere enough even ever every everybody everyone everything everywhere except few fewer first for forth
from further furthermore get gets getting got had hadn't half has hasn't have haven't having he he'd he'll he's hence
her here here's hers herself him himself his how how's however i i'd i'll i'm i've if in indeed inside instead into is
isn't it it'd it'll it's its itself just last least less lest let let's like likely little lot lots many may maybe me
meanwhile might mine more moreover most mostly much must my myself namely near nearly neither never nevertheless next no
nobody none nonetheless noone nor not nothing now nowhere of off often oh ok okay on once one one's ones only onto or
other others otherwise ought our ours ourselves out outside over own per perhaps please plus possibly pretty probably
quite rather really regarding same second seem seemed seems several shall she she'd she'll she's should shouldn't since
so some somebody somehow someone something sometime sometimes somewhere soon still such than that that'd that's the
their theirs them themselves then there there's thereby therefore these they they'd they'll they're they've third this
those though three through throughout thus till to together too toward towards twice two under underneath unless unlike
until unto up upon us usually various very via was wasn't we we'd we'll we're we've well were weren't what what's
whatever when when's whenever where where's whereas wherever whether which whichever while who who's whoever whole whom
whose why will with within without won't would wouldn't yeah yes yet you you'd you'll you're you've your yours yourself
yourselves zero four five six seven eight nine ten hundred thousand million billion dozen couple etc vs e.g i.e today
tomorrow yesterday tonight monday tuesday wednesday thursday friday saturday sunday january february march april june
july august september october november december
"""
STOP_WORDS = frozenset(_STOP_WORDS_TEXT.split())
_DETERMINERS_TEXT = """
the a an my your his her its our their this that these those no some any each every
"""
DETERMINERS = frozenset(_DETERMINERS_TEXT.split())
_VERB_MARKERS_TEXT = """
to i you we they he she it who will would can could should shall may might must cannot can't don't didn't doesn't won't
wouldn't couldn't shouldn't never let let's i'll you'll we'll they'll he'll she'll it'll i'd you'd we'd they'd i've
you've we've they've not please there is are was were been be being has have had isn't aren't wasn't weren't
"""
VERB_MARKERS = frozenset(_VERB_MARKERS_TEXT.split())
_VERBS_TEXT = """
stood began woke rang sang swam broke drove ate flew grew hung hid led lit lost rode rose shook shone sold sank sought
stole stuck swore swept swung tore threw wept wound wove bent bound bit blew chosen clung crept dealt drank drew dug fed
fled flung forgave froze ground held accept achieve act add address admit affect afford agree aim allow announce answer
allocate wind slip empower glide ring tick hum weep mumble sneeze rest bite appear apply appreciate argue arrive ask
assume attempt avoid base beat become begin believe belong bend blame boil borrow bother break bring brought build built
burn buy call came care carry catch caught cause change charge check choose chose chosen claim clean clear click climb
close collect come compare complain complete confirm connect consider contain continue convince cook correct cost count
cover crack create cry cut dare deal decide declare define deliver demand deny depend describe deserve design destroy
determine develop die discover discuss do doubt draw dream drink drive drop dry earn eat edit embrace enable encourage
end enjoy ensure enter exist expand expect explain express face fail fall feel felt fight figure fill find finish fit
fix fly focus follow force forget forgot found gain gather gave give given go goes going gone got grab grow guess handle
hang happen hate hear heard help hide hire hit hold hope hurt imagine improve include increase insist involve join judge
jump keep kept kick kill knew conduct configure decrease function operate pitch ship track knock know known lack laugh
launch lay lead lean learn leave led left lend lie lift like listen live look lose lost love made maintain make manage
mark matter mean meant measure meet mention met mind miss move need notice obtain occur offer open order owe own pay
pass perform pick place plan play point post prefer prepare present pretend prevent proceed produce promise prove provide
publish pull push put raise reach react read realize realise receive recognize recommend reduce refuse release rely
remain remember remind remove repeat replace reply represent require rest return reveal ride rise risk run said sat save
saw say search see seek seen sell send sent separate serve set settle share shift shine show shut sing sit sleep smile
solve sort sound speak spend spent spoke stand start stay steal stick stop strike struggle stuck study succeed suffer
suggest suit suppose surprise survive switch take talk taught teach tell tend test thank think thought threw throw tie
told took touch treat tried trust try turn understand understood use wait wake walk want warn wash watch wear went win
wish wonder wore work worry write wrote written
"""
VERBS = frozenset(_VERBS_TEXT.split())
_NOT_TOPICS_TEXT = """
able awkward rather sad eager innocent ugly clever happy angry afraid aware certain honest silly lazy busy rich empty
safe alive dead actual actually subpar great favorite favourite personal local whole amazing amount anymore area aspect
available awesome bad big bit bunch bottom capable case certain chance clear common complete completely correct course
current currently day days deep detail difficult directly double due early easier easily easy end entire entirely
especially eventually exact exactly example examples extra extremely fact fairly familiar far fast feature final finally
fine following form free front full fully fun funny general generally good great group guy guys hand hard heavy high
hour hours huge idea ideas individual individuals immediate scenario reader readers name names opinion opinions dollar
dollars cash summary conclusion highlights result results goal goals grade immediately important impossible initial
instance interesting item items key kind kinds large largely late later latest left level light likely list literally
long longer low main major matter mess middle min minute minutes modern moment moments month months morning multiple
name natural near necessary new nice night normal note number numbers obvious obviously old open original originally
overall part particular particularly parts past people perfect perfectly person piece pieces place places point points
poor popular position possible potential previous previously primary problem problems proper properly purpose quick
quickly random range ready real reality reason reasons recent recently regular related result results right rough
roughly round sad section sense serious set short side sides significant significantly similar simple simply single
situation slightly slow slowly small sort sorts spare special specific specifically stage standard state step steps
strange strong stuff subject successful successfully sudden suddenly super sure surprised term terms terrible thing
things time times top total totally tough true truly truth type types unable usual version way ways week weeks weird
wide willing wonderful word words worse worst worth wrong year years yellow young tiny lovely bright cold hot warm dark
black white red green blue update updates image images click link links page pages post posts article articles blog
section http https www com false null
"""
NOT_TOPICS = frozenset(_NOT_TOPICS_TEXT.split())
