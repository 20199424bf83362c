package server

func (s *streamsService) subscribe(send *sender) error {
	return fail(unknownCode, "not yet")
}
