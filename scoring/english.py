"""Plain English words, by which a short text shows its language. Only `language.py` reads this.

Of our own choosing: what customers write most, British spelling. A word that is also everyday in another
language stands in `SHARED`: it says little alone ("no", German "die").
"""

COMMON = frozenset(
    """
    the and of to for with that this these those they them their there then than from have has had having been
    being were are is was be am it its it's not you your yours we our ours us he his him she her hers my mine i
    a an in on at by as or if so no but out up off over under again about into through after before until while
    during because since although though however therefore otherwise instead without within between against
    around along away back down here where when why how what which who whom whose all any both each few more
    most much many some such only own same other others another too very just even still already always never
    often sometimes usually ever yet also rather quite really actually maybe perhaps probably almost enough
    else can could can't cannot cant couldn't couldnt will would won't wont wouldn't wouldnt shall should
    shouldn't may might must do does did done doing don't dont doesn't doesnt didn't didnt isn't isnt aren't
    wasn't wasnt weren't haven't havent hasn't hasnt hadn't i'm im i've ive i'd i'll we're we've we'd we'll
    you're you've they're they've that's there's he's she's what's let's get gets got getting go goes going
    gone went come comes came coming make makes made making take takes took taken taking give gives gave given
    giving keep keeps kept keeping put say says said saying tell tells told telling ask asks asked asking know
    knows knew known think thinks thought feel feels felt feeling see sees saw seen seeing look looks looked
    looking find finds found finding want wants wanted need needs needed needing try tries tried trying use
    uses used using work works worked working call calls called calling ring rang phone phoned speak spoke
    spoken speaking talk talked talking hear heard listen listened listening answer answers answered reply
    replied explain explained wait waits waited waiting leave leaves left leaving let start starts started stop
    stopped end ended begin turn turned open opened close closed show showed send sent sending receive received
    pay paid paying buy bought sell order ordered deliver delivered arrive arrived arriving arrival happen
    happened happening change changed changes move moved become became seem seemed sort sorted fix fixed fixing
    mend repair repaired repairs break broke broken report reported reporting chase chased ignore ignored live
    lived living sleep stay stayed visit visited visiting check checked book booked cancel cancelled refund
    refunded charge charged treat treated pass passed understand understood believe remember forget forgot
    expect expected provide provided offer offered improve improved improvement continue allow allowed meet met
    carry run help helped helping helps care cared caring thank thanks please love loved like liked appreciate
    appreciated wish hope good great excellent brilliant fantastic amazing wonderful lovely nice fine ok okay
    best better well happy pleased satisfied friendly helpful polite kind professional quick quicker quickly
    fast faster prompt promptly easy efficient clean safe bad worse worst poor awful terrible dreadful
    appalling disgusting shocking useless rubbish rude slow slower slowly late early long longer short wrong
    right hard difficult cold hot warm dirty damp wet unhappy angry upset disappointed disappointing frustrated
    frustrating annoyed annoying confusing confused expensive cheap cheaper new old big bigger small little
    high low full half free busy ready able unable sure clear different important possible available same first
    second third last next once twice one two three four five six seven eight nine ten nothing none something
    anything everything nobody everyone everybody someone somebody anyone anybody nowhere time times day days
    week weeks month months year years hour hours minute minutes mins today tomorrow yesterday now later soon
    sooner ago morning afternoon evening night monday tuesday wednesday thursday friday saturday sunday people
    person man woman men women child children kids baby boy girl son daughter husband wife mum mother dad
    father family friend friends neighbour neighbours customer customers tenant tenants patient patients staff
    team manager agent adviser advisor officer driver engineer nurse nurses doctor doctors member members lady
    guy thing things way lot lots bit part place home house flat room kitchen bathroom bedroom window windows
    door doors wall walls roof floor ceiling water heating boiler leak leaking leaks mould lift stairs garden
    street road building bill bills money price prices rent account number email emails message letter letters
    website site page app login password data delivery parcel item items product products shop store queue
    appointment appointments job problem problems issue issues complaint complaints question questions response
    information advice contact communication experience attitude service services support system update updates
    idea comment comments improvements reason name line food car parking hospital ward treatment treatments
    health life hello hi individual general
    """.split()
)

SHARED = frozenset(
    """
    a i in on an as am at or so no do to he me we us be is of was war die man men her over mine for per data
    idea nine ten six see let put end set hat hot bad arm rat not fast still half stand wild gift brief art
    rate super top bravo fan fun chat mail app note cause page place table service services message question
    patient patients important possible simple part port plus pour come sale fine care pan met best den most
    van wet week water had plan fiasco grave mal sin son real total normal final local social e o y hay has pay
    dad red fin sol once brave culpable terrible horrible admirable amiable noble sensible favorable superior
    inferior popular vital regular error nerd rank under and all vi ni na by my jest brat dom gwir mae i'r yn
    hi fi ar bod call dim dull fury hell
    """.split()
)
"""Also words, or spelt like words, of other languages that our customers write: French, German, Polish, Welsh …"""
