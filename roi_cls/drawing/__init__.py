"""Pictures made for people: frames with faces, heat, pages of crops."""
